import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { z } from 'zod';

/** Where the `fingerprint` target leaves its result for `deploy`, in the endpoint's folder. */
const FILE = 'dist/fingerprint.json';

const fingerprintRecord = z.strictObject({
  endpoint: z.string(),
  /** Nx's hash of the argument-free `fingerprint` task. */
  fingerprint: z.string().regex(/^[0-9A-Za-z]+$/),
});

/** The hash of everything that a deployment of an endpoint is made of. */
export type FingerprintRecord = z.infer<typeof fingerprintRecord>;

/**
 * The fingerprint that Nx has computed for the task in whose environment this runs.
 *
 * @throws {Error} outside that task, where there is none.
 */
export function taskFingerprint(
  endpoint: string,
  env: Readonly<Record<string, string | undefined>>,
): FingerprintRecord {
  const fingerprint = env['NX_TASK_HASH'];
  if (fingerprint === undefined || env['NX_TASK_TARGET_TARGET'] !== 'fingerprint') {
    throw new Error(`A fingerprint is the hash of an Nx task: use \`npx nx fingerprint ${endpoint}\`.`);
  }
  return fingerprintRecord.parse({ endpoint, fingerprint });
}

/** Leaves a fingerprint for the `deploy` that depends on it. */
export function writeFingerprint(directory: string, record: FingerprintRecord): void {
  const file = path.join(directory, FILE);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(record)}\n`);
}

/** Reads what the `fingerprint` target left a moment ago. */
export function readFingerprint(directory: string): FingerprintRecord {
  return fingerprintRecord.parse(JSON.parse(readFileSync(path.join(directory, FILE), 'utf8')));
}
