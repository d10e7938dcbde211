/** What endpoints were before `ryla adopt` took them over, with the values of their variables: files that only their owner reads. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { parseEndpoint, type RunPodEndpoint, secretDocument } from '@ryla/runpod-management';
import { z } from 'zod';

import { UsageError } from '../exit-codes.ts';

const record = z.object({
  version: z.literal(1),
  adoptedAt: z.string(),
  by: z.string(),
  endpoint: z.string(),
  environment: z.string(),
  runpod: z.unknown(),
});

/** Which endpoint a record is of. */
export interface AdoptionKey {
  readonly endpoint: string;
  readonly environment: string;
}

/** Records of one target, in a folder that git ignores. */
export interface AdoptionRecords {
  fileOf(key: AdoptionKey): string;
  /** Keeps what an endpoint is now; in place of an earlier record. */
  keep(key: AdoptionKey, live: RunPodEndpoint, by: string): Promise<string>;
  /**
   * What an endpoint was.
   *
   * @throws {UsageError} `no_record`.
   */
  read(key: AdoptionKey): Promise<RunPodEndpoint>;
}

/** Records below a target's state folder. */
export function adoptionRecords(stateFolder: string): AdoptionRecords {
  const folder = path.join(stateFolder, 'adopted');
  const fileOf = ({ endpoint, environment }: AdoptionKey): string =>
    path.join(folder, `${environment}.${endpoint}.json`);
  return {
    fileOf,
    async keep(key, live, by) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const file = fileOf(key);
      const document = { version: 1, adoptedAt: new Date().toISOString(), by, ...key };
      const text = JSON.stringify({ ...document, runpod: secretDocument(live) }, null, 2);
      await writeFile(`${file}.new`, `${text}\n`, { mode: 0o600 });
      await rename(`${file}.new`, file);
      return file;
    },
    async read(key) {
      const file = fileOf(key);
      try {
        return parseEndpoint(record.parse(JSON.parse(await readFile(file, 'utf8'))).runpod);
      } catch (cause) {
        throw new UsageError(
          `${file} does not say what ${key.endpoint} was before it was adopted: it is kept where \`ryla adopt\` ran.`,
          'no_record',
          { cause },
        );
      }
    },
  };
}
