/** `npm run test:live`: one photo-finish on each real deployment that is configured. Costs a fraction of a cent a job. */
import process from 'node:process';

import { ComfyUIServiceError } from '@ryla/business';
import { backendName, PROVIDERS } from '@ryla/business/config';

import { errorText } from './output.ts';
import { findWorkspace } from './workspace.ts';

/** Seconds after which a job is canceled: a cold start and a second of work. */
const PATIENCE_S = 600;

const workspace = await findWorkspace('cloud');
const endpoint = workspace.endpoint('photo-finish');
const { service, unusable } = await workspace.open();
let failed = 0;
await using jobs = service;
for (const provider of PROVIDERS) {
  const backend = backendName(provider, 'photo-finish');
  const missing = unusable.get(backend);
  if (missing !== undefined) {
    console.log(`skipped ${backend}: ${missing.message}`);
    continue;
  }
  try {
    const result = await jobs.run(
      endpoint,
      { width: 256 },
      { backend, signal: AbortSignal.timeout(PATIENCE_S * 1000) },
    );
    console.log(`passed ${backend}: ${result.outputs.length} output, ${JSON.stringify(result.timings)}`);
  } catch (error) {
    failed += 1;
    console.log(
      `failed ${backend}: ${ComfyUIServiceError.isInstance(error) ? errorText(error) : String(error)}`,
    );
  }
}
process.exitCode = failed === 0 ? 0 : 1;
