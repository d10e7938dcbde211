import { createReadStream } from 'node:fs';
import path from 'node:path';

import { ComfyUIServiceError } from '../errors.ts';
import { JobOutput } from '../output.ts';
import type { JobRecord, JsonValue, StoredOutput } from '../store/job-record.ts';

/** Where outputs are kept once their job has ended, so that a backend may forget them. */
export interface ArtifactStore {
  /** Keeps an output; what it returns is given back to {@link ArtifactStore.open}. */
  save(jobId: string, index: number, output: JobOutput, signal: AbortSignal): Promise<JsonValue>;
  /** The content from a byte offset; undefined when it is not kept here. */
  open(source: JsonValue): ((offset: number, signal: AbortSignal) => AsyncIterable<Uint8Array>) | undefined;
}

/** Artifacts in a folder of this machine: `<folder>/<job id>/<index>-<name>`. */
export function directoryArtifacts(folder: string): ArtifactStore {
  const root = path.resolve(folder);
  return {
    async save(jobId, index, output, signal) {
      const file = path.join(jobId, `${index}-${output.name}`);
      await output.save(path.join(root, file), { signal });
      return { file };
    },
    open(source) {
      const file =
        typeof source === 'object' && source !== null && 'file' in source ? source['file'] : undefined;
      if (typeof file !== 'string') return undefined;
      const whole = path.resolve(root, file);
      if (!whole.startsWith(`${root}${path.sep}`)) return undefined;
      return (offset, signal) => createReadStream(whole, { start: offset, signal });
    },
  };
}

/** The outputs of a stored job that are kept; undefined when not all of them are. */
export function keptOutputs(job: JobRecord, artifacts: ArtifactStore | undefined): JobOutput[] | undefined {
  const outputs: JobOutput[] = [];
  for (const stored of job.outputs) {
    const open = artifacts?.open(stored.source);
    if (open === undefined) return undefined;
    outputs.push(keptOutput(stored, open));
  }
  return outputs;
}

function keptOutput(stored: StoredOutput, open: NonNullable<ReturnType<ArtifactStore['open']>>): JobOutput {
  const { nodeId, name, kind, contentType } = stored;
  const description = {
    nodeId,
    name,
    kind,
    contentType,
    size: stored.size ?? undefined,
    sha256: stored.sha256 ?? undefined,
  };
  return new JobOutput(description, async function* ({ offset, signal }) {
    try {
      yield* open(offset, signal);
    } catch (cause) {
      signal.throwIfAborted();
      throw new ComfyUIServiceError('output_missing', `The kept output ${name} cannot be read.`, {
        nodeId,
        cause,
      });
    }
  });
}
