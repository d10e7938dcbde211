/** What lies on the network volume of a run: the models that the endpoints use, and what a team has beside them. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** A model as an endpoint.json pins it. */
export interface PinnedModel {
  readonly url: string;
  readonly directory: string;
  readonly filename: string;
  readonly size: number;
  readonly sha256: string;
}

/** Bytes of random data that a file repeats; each file begins with bytes of its own. */
const BLOCK = 1024 * 1024;
const HEAD = 64;

/** Folders of what no endpoint names. */
const OTHER_FOLDERS = ['loras', 'embeddings', 'upscale_models', 'controlnet'] as const;

/** What is made: bytes and files in all, models of the endpoints included. */
export interface VolumeSize {
  readonly bytes: number;
  readonly files: number;
}

/**
 * Fills the folder of a volume, in the layout of a pod's `/workspace`. Half of the bytes are the models; the rest are smaller files.
 *
 * @returns the models with the size and hash that they have here.
 */
export async function fillVolume(
  folder: string,
  models: readonly PinnedModel[],
  { bytes, files }: VolumeSize,
): Promise<readonly PinnedModel[]> {
  const block = randomBytes(BLOCK);
  const pinned: PinnedModel[] = [];
  const modelBytes = Math.ceil(bytes / 2 / models.length);
  for (const model of models) {
    const place = path.join(folder, 'models', model.directory, model.filename);
    const sha256 = await writeModel(place, modelBytes, block);
    pinned.push({ ...model, size: modelBytes, sha256 });
  }
  const others = Math.max(0, files - models.length);
  const otherBytes = Math.ceil((bytes - models.length * modelBytes) / Math.max(1, others));
  for (let index = 0; index < others; index += 1) {
    const directory = OTHER_FOLDERS[index % OTHER_FOLDERS.length] ?? 'loras';
    const name = `${directory}-${String(index).padStart(4, '0')}.safetensors`;
    await writeModel(path.join(folder, 'models', directory, name), Math.max(HEAD, otherBytes), block);
  }
  return pinned;
}

async function writeModel(place: string, bytes: number, block: Buffer): Promise<string> {
  await mkdir(path.dirname(place), { recursive: true });
  const content = Buffer.alloc(bytes, block);
  randomBytes(Math.min(HEAD, bytes)).copy(content);
  await writeFile(place, content);
  return createHash('sha256').update(content).digest('hex');
}
