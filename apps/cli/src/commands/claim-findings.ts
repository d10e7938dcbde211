import { type RylaConfig, sharesOf } from '@ryla/business/config';
import type { EndpointConfig } from '@ryla/workflow';

import type { Finding } from './doctor.ts';

/** Says of each endpoint on RunPod whether its workers claim jobs, by what its endpoint.json says. */
export function claimFindings(config: RylaConfig, endpoints: readonly EndpointConfig[]): Finding[] {
  const onRunPod = endpoints.filter(
    ({ name, providers }) => providers.runpod.endpointId !== undefined || sharesOf(config, name).runpod > 0,
  );
  const resent = config.cloud?.runpodClaims === true;
  return onRunPod.map((endpoint): Finding => {
    const check = `RunPod claims of ${endpoint.name}`;
    const place = placeOfClaims(endpoint);
    if (place !== undefined) return { check, state: 'ok', message: `workers claim jobs ${place}` };
    const again = resent
      ? ' So may one whose submission is sent again after a lost answer (cloud.runpodClaims).'
      : '';
    return {
      check,
      state: 'warning',
      message: `neither a network volume nor a bucket: a job that RunPod delivers again (it puts jobs of lost workers back into the queue) can run twice, at the same time, and cost twice.${again}`,
      advice: `Set providers.runpod.networkVolumes in the endpoint.json of ${endpoint.name}, or BUCKET_ENDPOINT_URL and its keys in providers.runpod.env, and deploy: docs/backends.md, "RunPod: each job once". What a template or RunPod's pages say is not seen here.`,
    };
  });
}

/** Where the workers of an endpoint claim jobs; undefined where they do not. The worker decides by the same rule. */
function placeOfClaims({ providers: { runpod } }: EndpointConfig): string | undefined {
  const { networkVolumes = [], env = {} } = runpod;
  const choice = env['RYLA_CLAIMS'];
  if (choice === 'none') return undefined;
  const hasFolder = networkVolumes.length > 0 || isSet(env['RYLA_CLAIMS_DIR']);
  if (hasFolder && choice !== 'bucket') return 'on the network volume';
  return isSet(env['BUCKET_ENDPOINT_URL']) && choice !== 'volume' ? 'in the bucket' : undefined;
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== '';
}
