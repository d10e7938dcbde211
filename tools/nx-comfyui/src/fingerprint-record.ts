import { z } from 'zod';

const fingerprintRecord = z.strictObject({
  endpoint: z.string(),
  /** Nx's hash of the argument-free `fingerprint` task. */
  fingerprint: z.string().regex(/^[0-9A-Za-z]+$/),
});

/** The hash of everything that a deployment of an endpoint is made of. */
export type FingerprintRecord = z.infer<typeof fingerprintRecord>;

/**
 * The fingerprint that Nx has computed for the task in whose environment this runs: `fingerprint`, or
 * `fingerprint-runpod`. `ryla deploy` computes the same without running the task.
 *
 * @throws {Error} outside such a task, where there is none.
 */
export function taskFingerprint(
  endpoint: string,
  env: Readonly<Record<string, string | undefined>>,
): FingerprintRecord {
  const fingerprint = env['NX_TASK_HASH'];
  const target = env['NX_TASK_TARGET_TARGET'] ?? '';
  if (fingerprint === undefined || !/^fingerprint(-runpod)?$/.test(target)) {
    throw new Error(`A fingerprint is the hash of an Nx task: use \`npx nx fingerprint ${endpoint}\`.`);
  }
  return fingerprintRecord.parse({ endpoint, fingerprint });
}
