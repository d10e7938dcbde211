/**
 * `npm run test:live`: one small photo-finish on each real deployment that is configured. Refuses to begin a job once
 * those of the day have cost `RYLA_LIVE_USD` dollars (0.10 without it). A card without a known price counts as nothing
 * there: such a job is bounded by {@link PATIENCE_MS} alone.
 */
import process from 'node:process';

import type { CLOUD_VARIABLES } from '@ryla/business/config';
import {
  backendName,
  createServiceFromConfig,
  describeTarget,
  PROVIDERS,
  variableName,
} from '@ryla/business/config';

import { EXIT } from './exit-codes.ts';
import { errorText } from './output.ts';
import { findWorkspace } from './workspace.ts';

/** Milliseconds after which a job is canceled: a cold start and a second of work. */
const PATIENCE_MS = 10 * 60_000;

/** US dollars a day. */
const CAP_USD = 0.1;

const NEEDED = {
  modal: ['modalWorkspace', 'modalProxyKey', 'modalProxySecret'],
  runpod: ['runpodApiKey'],
} as const satisfies Readonly<Record<string, readonly (keyof typeof CLOUD_VARIABLES)[]>>;

const cap = Number(process.env['RYLA_LIVE_USD'] ?? CAP_USD);
if (!Number.isFinite(cap) || cap < 0) {
  console.error('RYLA_LIVE_USD is a number of US dollars, such as 0.10.');
  process.exit(EXIT.usage);
}
const workspace = await findWorkspace('cloud');
const endpoint = workspace.endpoint('photo-finish');
const { cloud, state } = workspace.config;
const config = {
  usdPerDay: { 'photo-finish': cap },
  ...(cloud === undefined ? {} : { cloud }),
  ...(state === undefined ? {} : { state }),
};
console.log(`Target: ${describeTarget(workspace)}, at most $${cap.toFixed(2)} a day`);
const { service, unusable } = await createServiceFromConfig({ ...workspace, config }, [endpoint.config]);
let failed = 0;
{
  await using jobs = service;
  for (const provider of PROVIDERS) {
    const backend = backendName(provider, 'photo-finish');
    const reason = unusable.get(backend);
    if (reason !== undefined) {
      const missing = NEEDED[provider]
        .map((name) => variableName(workspace, name))
        .filter((name) => (process.env[name] ?? '') === '');
      console.log(
        `skipped ${backend}: ${missing.length === 0 ? reason.message : `${missing.join(', ')} not set`}`,
      );
      continue;
    }
    try {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      const result = await jobs.run(endpoint, { width: 256 }, { backend, signal });
      console.log(
        `passed ${backend}: ${result.outputs.length} output, ${JSON.stringify(result.timings)}, cost ${result.cost === undefined ? 'unknown' : `$${result.cost.usd}`}`,
      );
    } catch (error) {
      failed += 1;
      console.log(`failed ${backend}: ${errorText(error)}`);
    }
  }
}
process.exitCode = failed === 0 ? EXIT.ok : EXIT.failed;
