import { parseEndpointConfig } from '@ryla/workflow';
import { expect, it } from 'vitest';

import { claimFindings } from './claim-findings.ts';

function endpoint(runpod: Record<string, unknown>): ReturnType<typeof parseEndpointConfig> {
  return parseEndpointConfig({
    name: 'poster',
    title: 'Poster',
    workflow: 'workflow.json',
    inputs: {},
    providers: { runpod: { endpointId: 'abc', ...runpod } },
  });
}

const keys = { BUCKET_ACCESS_KEY_ID: { secret: 'id' }, BUCKET_SECRET_ACCESS_KEY: { secret: 'key' } };
const bucket = { BUCKET_ENDPOINT_URL: 'https://s3.example/bucket', ...keys };

it.each([
  [{ networkVolumes: ['models'] }, 'on the network volume'],
  [{ env: bucket }, 'in the bucket'],
  [{ networkVolumes: ['models'], env: { ...bucket, RYLA_CLAIMS: 'bucket' } }, 'in the bucket'],
  [{ networkVolumes: ['models'], env: bucket }, 'on the network volume'],
])('says where jobs are claimed: %j', (runpod, place) => {
  expect(claimFindings({}, [endpoint(runpod)])).toEqual([
    { check: 'RunPod claims of poster', state: 'ok', message: `workers claim jobs ${place}` },
  ]);
});

it.each([
  {},
  { env: { BUCKET_ENDPOINT_URL: '' } },
  { networkVolumes: ['models'], env: { RYLA_CLAIMS: 'none' } },
])('says what is not guaranteed, and what to do: %j', (runpod) => {
  const [finding] = claimFindings({}, [endpoint(runpod)]);
  expect(finding?.state).toBe('warning');
  expect(finding?.message).toContain('can run twice');
  expect(finding?.message).not.toContain('runpodClaims');
  expect(finding?.advice).toContain('networkVolumes');
  const [resent] = claimFindings({ cloud: { runpodClaims: true } }, [endpoint(runpod)]);
  expect(resent?.message).toContain('runpodClaims');
});

it('says nothing of an endpoint that is not on RunPod', () => {
  const onModal = endpoint({ endpointId: undefined });
  expect(claimFindings({}, [onModal])).toEqual([]);
  expect(claimFindings({ routes: { poster: { runpod: 0.1, modal: 0.9 } } }, [onModal])).toHaveLength(1);
});
