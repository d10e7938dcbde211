/** What lies on a network volume, against what the copy has verified on the other side. */
import { z } from 'zod';

import type { Refusal } from './refusal.ts';

/** What `copy_volume.py --json` says, as far as it matters here (apps/modal/src/ryla_modal/volume_copy). */
const copyDocument = z.object({
  mode: z.enum(['plan', 'check', 'copy']),
  source: z.string(),
  complete: z.boolean(),
  files: z.array(
    z.object({
      path: z.string(),
      key: z.string(),
      size: z.number().nonnegative(),
      endpoints: z.array(z.string()),
      state: z.string(),
      proof: z.string().optional(),
      sha256: z.string().nullish(),
    }),
  ),
  gone: z.array(z.string()),
  refused: z.array(z.object({ key: z.string(), reason: z.string() })),
  beside: z.array(z.string()),
  notThere: z.array(z.string()),
  leftOut: z.number(),
});

/** The form of a saved check or copy of a volume. */
export const volumeCheck = z.object({
  volumeId: z.string(),
  /** ISO 8601. */
  checkedAt: z.iso.datetime(),
  document: copyDocument,
});

/** A check or a copy of a volume, and when it was made. */
export type VolumeCheck = z.infer<typeof volumeCheck>;

/** What is known of a volume. */
export interface VolumeData {
  readonly volumeId: string;
  /** ISO 8601; null when nobody has looked. */
  readonly checkedAt: string | null;
  readonly files: number;
  readonly bytes: number;
  /** Keys that are not verified on the new side, with what is known of them. */
  readonly notVerified: readonly { readonly key: string; readonly state: string }[];
  /** Keys that no endpoint uses; they were copied, or left out on purpose. */
  readonly unreferenced: readonly { readonly key: string; readonly bytes: number }[];
  /** Keys beside the models, which nobody has looked into: they are gone with the volume. */
  readonly beside: readonly string[];
  /** Files that were not asked for by the copy. */
  readonly leftOut: number;
  /** Names of further endpoints on RunPod that mount it: then it cannot go. */
  readonly usedBy: readonly string[];
}

/** What a check found on a volume. */
export function volumeData(
  volumeId: string,
  check: VolumeCheck | undefined,
  usedBy: readonly string[],
): VolumeData {
  const files = check?.document.files ?? [];
  const refused = check?.document.refused ?? [];
  return {
    volumeId,
    checkedAt: check?.checkedAt ?? null,
    files: files.length,
    bytes: files.reduce((sum, { size }) => sum + size, 0),
    notVerified: [
      ...files.filter(({ state }) => state !== 'verified').map(({ key, state }) => ({ key, state })),
      ...refused.map(({ key, reason }) => ({ key, state: reason })),
    ],
    unreferenced: files
      .filter(({ endpoints }) => endpoints.length === 0)
      .map(({ key, size }) => ({ key, bytes: size })),
    beside: check?.document.beside ?? [],
    leftOut: check?.document.leftOut ?? 0,
    usedBy,
  };
}

/**
 * Why a volume speaks against going on.
 *
 * @param lastJobAt when the old side last had a job, which may have written there; milliseconds since 1970.
 */
export function volumeRefusals(
  { volumeId, checkedAt, notVerified, leftOut }: VolumeData,
  lastJobAt: number | null,
): readonly Refusal[] {
  const again = `Run \`ryla migrate volume --volume ${volumeId} --check\`.`;
  if (checkedAt === null)
    return [
      {
        code: 'volume_not_checked',
        message: `Nobody has compared the network volume ${volumeId} with its copy. ${again}`,
      },
    ];
  if (lastJobAt !== null && Date.parse(checkedAt) <= lastJobAt)
    return [
      {
        code: 'volume_not_checked',
        message: `The network volume ${volumeId} was compared on ${checkedAt}, before the last job on the old side. ${again}`,
      },
    ];
  const missing = notVerified.length + leftOut;
  if (missing === 0) return [];
  const examples = notVerified.slice(0, 3).map(({ key, state }) => `${key} (${state})`);
  return [
    {
      code: 'volume_not_verified',
      message: `${missing} files of the network volume ${volumeId} are not verified on the new side${examples.length === 0 ? ', as they were not asked for' : `: ${examples.join(', ')}`}.`,
    },
  ];
}
