import { parseEndpointConfig } from '@ryla/workflow';
import { expect, it } from 'vitest';

import { withRunPodEndpoints } from './runpod-endpoint-ids.ts';

const poster = parseEndpointConfig({ name: 'poster', title: 'Poster' });
const placard = parseEndpointConfig({
  name: 'placard',
  title: 'Placard',
  providers: { runpod: { endpointId: 'abc123' } },
});
const cloud = { root: '/', target: 'cloud', config: {}, env: { RUNPOD_API_KEY: 'k' } } as const;
const names = ['poster', 'placard'];

it('asks only where an endpoint needs it, and with a key', async () => {
  const never = (): never => expect.fail('RunPod was asked');
  const nothing = { unusable: new Map() };
  expect(await withRunPodEndpoints(cloud, [placard], names, never)).toMatchObject(nothing);
  expect(await withRunPodEndpoints(cloud, [poster], [], never)).toMatchObject(nothing);
  expect(await withRunPodEndpoints({ ...cloud, env: {} }, [poster], names, never)).toMatchObject(nothing);
});

it('says of each endpoint why it cannot be used', async () => {
  const empty = await withRunPodEndpoints(cloud, [poster, placard], names, () => Promise.resolve([]));
  expect(empty.endpoints).toEqual([poster, placard]);
  expect([...empty.unusable.keys()]).toEqual(['runpod:poster']);
  expect(empty.unusable.get('runpod:poster')?.hint).toContain('ryla deploy poster --provider runpod');
  const failed = await withRunPodEndpoints(cloud, [poster, placard], names, () =>
    Promise.reject(new Error('down')),
  );
  expect([...failed.unusable.values()].map(({ message }) => message)).toEqual([
    'RunPod could not be asked which endpoint poster is: down',
  ]);
});
