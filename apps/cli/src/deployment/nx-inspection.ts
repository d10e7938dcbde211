/** What Nx knows of the workspace: which endpoints a change affects, and every fingerprint. One process, whatever their number. */
import type { Provider } from '@ryla/business/config';
import { z } from 'zod';

import { type InspectionProcess, startInspection } from './inspection-process.ts';

const inspection = z.object({
  /** Projects that are affected, in no order; null where no base was given. */
  affected: z.array(z.string()).nullable(),
  fingerprints: z.record(
    z.string(),
    z.object({
      fingerprint: z.string().regex(/^[0-9A-Za-z]+$/),
      /** Files that are in the hash, from the root. */
      files: z.array(z.string()),
    }),
  ),
});

/** What {@link inspectWorkspace} found. */
export type Inspection = z.infer<typeof inspection>;

/** What is asked of Nx. */
export interface InspectionRequest {
  /** Projects whose fingerprints are wanted, if they are affected. */
  readonly endpoints: readonly string[];
  /** Target whose hash is the fingerprint. */
  readonly target: string;
  /** Commits between which changes count; without head, also those that are in no commit. Null: everything is affected. */
  readonly range: { readonly base: string; readonly head?: string } | null;
}

/** The argument-free target whose hash is an endpoint's fingerprint. */
export const FINGERPRINT_TARGET: Readonly<Record<Provider, string>> = {
  modal: 'fingerprint',
  runpod: 'fingerprint-runpod',
};

/**
 * Asks Nx.
 *
 * @param started the process, where it was started before.
 * @throws {Error} with what Nx said, such as a broken project graph.
 */
export async function inspectWorkspace(
  root: string,
  request: InspectionRequest,
  started: InspectionProcess = startInspection(root),
): Promise<Inspection> {
  const answer = await started.ask(request);
  try {
    return inspection.parse(JSON.parse(answer));
  } catch (cause) {
    throw new Error(`Nx could not read the workspace:\n${answer}`, { cause });
  }
}
