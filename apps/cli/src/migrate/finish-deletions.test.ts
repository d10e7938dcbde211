/** What `ryla migrate finish --delete…` sends to RunPod, and what it does not. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { type LocalRunPod, startLocalRunPod } from '../../test-support/local-runpod.ts';
import { migrationWorkspace, type MigrationWorkspace } from '../../test-support/migration-workspace.ts';
import { finish, type FinishOptions } from './finish-command.ts';

const IMAGE = 'runpod/worker-comfyui:5.8.5-base';

let cloud: LocalRunPod;
let place: MigrationWorkspace;
let options: FinishOptions;
let endpointId: string;
let templateId: string;
let volumeId: string;

beforeAll(async () => {
  cloud = await startLocalRunPod();
});
afterAll(() => cloud[Symbol.asyncDispose]());

beforeEach(async () => {
  await cloud.control('DELETE', 'state');
  place = migrationWorkspace('complete', { quietHours: 0 });
  const volume = { name: 'models', size: 200, dataCenter: 'EU-RO-1' };
  volumeId = String((await cloud.send('POST', 'network-volumes', volume))['id']);
  const template = {
    name: 'picture-template',
    image: IMAGE,
    serverless: true,
    env: { HF_TOKEN: 'hf_secret' },
  };
  templateId = String((await cloud.send('POST', 'templates', template))['id']);
  endpointId = await endpoint('picture', { HF_TOKEN: 'hf_secret' });
  describeEndpoint('picture', endpointId);
  place.write('.local-clouds/environment.json', cloud.environment());
  options = { target: 'local', out: path.join(place.root, 'out'), json: true };
  check();
  await using store = await place.store();
  const state = { stage: 'complete', since: 1, evidenceSince: 1, hold: null, history: [] };
  await store.setState('migration/stage/picture', state, 0);
  await cloud.control('DELETE', 'requests');
});
afterEach(() => {
  place[Symbol.dispose]();
});

async function endpoint(name: string, env: Record<string, string> = {}): Promise<string> {
  const { id } = await cloud.client.createEndpoint({
    ...{ name, type: 'QUEUE', image: IMAGE, env },
    gpu: { pools: ['ADA_24'], count: 1 },
    workers: { min: 0, max: 3 },
    scaling: { type: 'QUEUE_DELAY', queueDelay: 4 },
    dataCenterIds: ['EU-RO-1'],
    networkVolumes: [volumeId],
  });
  return id;
}

function describeEndpoint(name: string, id: string | undefined, more: object = {}): void {
  place.write(`apps/endpoints/${name}/endpoint.json`, {
    name,
    providers: { runpod: { ...(id === undefined ? {} : { endpointId: id }), ...more } },
  });
}

/** A comparison of the volume with its copy. */
function check({ hoursAgo = 0, beside = [] as string[], state = 'verified' } = {}): void {
  const files = [{ path: 'vae/a', key: 'models/vae/a', size: 5, endpoints: ['picture'], state }];
  place.write(`.ryla/local/migration/volume-${volumeId}.json`, {
    volumeId,
    checkedAt: new Date(Date.now() - hoursAgo * 3_600_000).toISOString(),
    document: {
      ...{ mode: 'check', source: 's', complete: true, files, gone: [], refused: [] },
      ...{ beside, notThere: [], leftOut: 0 },
    },
  });
}

const answer = z.object({
  endpoints: z.array(z.object({ isGone: z.boolean(), recordFile: z.string().nullable() })),
  deletions: z.array(
    z.object({ kind: z.string(), id: z.string(), outcome: z.string(), reasons: z.array(z.string()) }),
  ),
});

interface Ran extends z.infer<typeof answer> {
  readonly code: number;
  readonly sent: readonly string[];
}

/** Runs it; `answers` are what somebody types, in order. */
async function run(
  more: Partial<FinishOptions>,
  answers?: readonly string[],
): Promise<Ran & { asked: string[] }> {
  const asked: string[] = [];
  const person =
    answers === undefined
      ? undefined
      : (question: string) => {
          asked.push(question);
          return Promise.resolve(answers[asked.length - 1] ?? '');
        };
  const { out, code } = await place.run(() => finish(['picture'], { ...options, ...more }, person));
  const sent = (await cloud.writes()).map(({ request }) => request);
  return { ...answer.parse(JSON.parse(out)), code, sent, asked };
}

const outcomes = ({ deletions }: Ran): readonly string[] => deletions.map(({ outcome }) => outcome);
const reasons = ({ deletions }: Ran): string => deletions.flatMap((each) => each.reasons).join('\n');

async function switchedOff(): Promise<void> {
  await run({ apply: true });
}

function recordFile(): string {
  return path.join(options.out, 'runpod-picture.json');
}

function notes(): readonly Record<string, unknown>[] {
  const kept: unknown = JSON.parse(readFileSync(recordFile(), 'utf8'));
  return z.object({ deletions: z.array(z.record(z.string(), z.unknown())) }).parse(kept).deletions;
}

describe('at a terminal', () => {
  it('asks for endpoint, template and volume, each by its name, with what goes and what it costs', async () => {
    await switchedOff();
    const done = await run({ delete: true }, ['picture', 'picture-template', 'models']);
    expect(outcomes(done)).toEqual(['deleted', 'deleted', 'deleted']);
    expect(done.sent).toEqual([
      `DELETE /v2/serverless/${endpointId}`,
      `DELETE /v2/templates/${templateId}`,
      `DELETE /v2/network-volumes/${volumeId}`,
    ]);
    expect(done.asked[2]).toContain('200 GB in EU-RO-1, 1 files of models');
    expect(done.asked[2]).toContain('costs $14.00 a month');
    expect(done.code).toBe(0);
    expect(notes()).toMatchObject([
      { kind: 'endpoint', id: endpointId, outcome: 'deleted' },
      { kind: 'template', id: templateId, outcome: 'deleted' },
      { kind: 'network volume', id: volumeId, name: 'models', outcome: 'deleted' },
    ]);
    // What was the template is kept without the values of its variables.
    const kept = readFileSync(recordFile(), 'utf8');
    expect(kept).toContain('picture-template');
    expect(kept).not.toContain('hf_secret');
  });

  it('deletes nothing for another answer than the name', async () => {
    await switchedOff();
    const done = await run({ delete: true }, [endpointId, 'yes', '']);
    expect(done.sent).toEqual([]);
    // Template and volume are not asked for while the endpoint that needs them is there.
    expect(outcomes(done)).toEqual(['left', 'blocked', 'blocked']);
    expect(done.asked).toHaveLength(1);
  });

  it('goes on where an earlier run was cut off, also when the answer was lost', async () => {
    await switchedOff();
    await cloud.control('PUT', 'faults', ['drop-after-accept=deleteEndpoint/:1']);
    expect(outcomes(await run({ delete: true }, ['picture', '', '']))).toEqual(['deleted', 'left', 'left']);
    // As a run leaves it that was killed before the answer came.
    const kept = readFileSync(recordFile(), 'utf8');
    writeFileSync(recordFile(), kept.replace(/,\s*"endedAt": "[^"]*",\s*"outcome": "deleted"/, ''));
    expect(notes()[0]).not.toHaveProperty('outcome');
    const next = await run({ delete: true }, ['picture-template', 'models']);
    expect(notes()[0]).toMatchObject({ id: endpointId, outcome: 'deleted' });
    expect(next.endpoints).toMatchObject([{ isGone: true }]);
    expect(next.sent).toEqual([
      `DELETE /v2/templates/${templateId}`,
      `DELETE /v2/network-volumes/${volumeId}`,
    ]);
    const again = await run({ delete: true }, []);
    expect([again.sent, again.deletions, again.code]).toEqual([[], [], 0]);
  });

  it('tells what was done until Ctrl-C', async () => {
    await switchedOff();
    let asked = 0;
    const { out, code, err } = await place.run(() =>
      finish(['picture'], { ...options, delete: true }, (_question, signal) => {
        asked += 1;
        if (asked === 1) return Promise.resolve('picture');
        process.emit('SIGINT');
        return Promise.reject(signal.reason as Error);
      }),
    );
    expect([code, asked]).toEqual([130, 2]);
    expect(err).toContain('What was done stays done');
    expect(answer.parse(JSON.parse(out)).deletions).toMatchObject([
      { outcome: 'deleted' },
      { outcome: 'left', reasons: ['interrupted'] },
      { outcome: 'left', reasons: ['not tried any more'] },
    ]);
    expect(notes()).toMatchObject([{ id: endpointId, outcome: 'deleted' }]);
  });

  it('leaves what became needed while somebody thought about it', async () => {
    await switchedOff();
    let asked = 0;
    const { out } = await place.run(() =>
      finish(['picture'], { ...options, delete: true }, async () => {
        asked += 1;
        if (asked === 3) {
          const mounts = { network: [{ volumeId, path: '/workspace' }] };
          await cloud.control('PUT', 'pods', [{ id: 'pod1', name: 'train', mounts }]);
        }
        return ['picture', 'picture-template', 'models'][asked - 1] ?? '';
      }),
    );
    expect(answer.parse(JSON.parse(out)).deletions[2]).toMatchObject({
      outcome: 'blocked',
      reasons: ['the pod train (pod1) mounts it'],
    });
    expect(await cloud.client.listNetworkVolumes()).toHaveLength(1);
  });
});

describe('without a terminal', () => {
  const everything = (): Partial<FinishOptions> => ({
    deleteEndpoint: [endpointId],
    deleteTemplate: [templateId],
    deleteVolume: [volumeId],
    confirm: ['picture', 'picture-template', 'models'],
  });

  it('takes each id with its name, and deletes nothing where one is missing', async () => {
    await switchedOff();
    for (const part of [
      { delete: true },
      { delete: true, confirm: ['picture', 'picture-template', 'models'] },
      { ...everything(), confirm: ['picture', 'models'] },
    ])
      await expect(run(part)).rejects.toMatchObject({ code: 'not_confirmed' });
    await expect(run({ deleteVolume: [volumeId] })).rejects.toThrow(
      `ryla migrate finish picture --delete-volume ${volumeId} --confirm models`,
    );
    await expect(run({ ...everything(), confirm: ['picture', 'other'] })).rejects.toThrow('--confirm other');
    await expect(run({ deleteVolume: ['vol0'], confirm: ['models'] })).rejects.toThrow(
      '--delete-volume vol0: there is no such network volume here',
    );
    expect(await cloud.writes()).toEqual([]);
    const done = await run(everything());
    expect(outcomes(done)).toEqual(['deleted', 'deleted', 'deleted']);
    // The same command once more is no error, and sends nothing.
    const again = await run(everything());
    expect([again.sent, again.code]).toEqual([[], 0]);
  });

  it.each([
    ['a volume that another endpoint mounts', 'mounts it'],
    ['a volume that was compared too long ago', 'ago; after 24 h that counts no more'],
    ['a volume with files that are in no copy', 'output/ on it is in no copy'],
    ['a volume of which a file is not verified', '1 files of the network volume'],
    ['a template that another endpoint may be made from', 'it may be made from it'],
    ['a template that another endpoint.json names', 'endpoint.json of other names it'],
  ])('does not delete %s', async (what, reason) => {
    await switchedOff();
    await run({ deleteEndpoint: [endpointId], confirm: ['picture'] });
    if (what.includes('mounts')) await endpoint('other');
    if (what.includes('made from')) await endpoint('other', { HF_TOKEN: 'hf_secret' });
    if (what.includes('json')) describeEndpoint('other', undefined, { template: templateId });
    if (what.includes('long ago')) check({ hoursAgo: 25 });
    if (what.includes('no copy')) check({ beside: ['output/'] });
    if (what.includes('not verified')) check({ state: 'differs' });
    await cloud.writes();
    const isTemplate = what.includes('template');
    const asked = isTemplate
      ? { deleteTemplate: [templateId], confirm: ['picture-template'] }
      : { deleteVolume: [volumeId], confirm: ['models'] };
    const done = await run(asked);
    expect([done.sent, outcomes(done), done.code]).toEqual([[], ['blocked'], 3]);
    expect(reasons(done)).toContain(reason);
    if (what.includes('no copy'))
      expect((await run({ ...asked, lose: ['output/'] })).sent).toEqual([
        `DELETE /v2/network-volumes/${volumeId}`,
      ]);
  });

  it('says what RunPod refused, tries nothing after it, and goes on next time', async () => {
    await switchedOff();
    await cloud.control('PUT', 'faults', ['http-error=deleteTemplate/409:1']);
    const failed = await run(everything());
    expect([outcomes(failed), failed.code]).toEqual([['deleted', 'failed', 'left'], 1]);
    expect(reasons(failed)).toContain('RunPod answered deleteTemplate with 409');
    expect(notes()).toMatchObject([{ outcome: 'deleted' }, { outcome: 'failed' }]);
    const done = await run({ ...everything(), deleteEndpoint: [], confirm: ['picture-template', 'models'] });
    expect([outcomes(done), done.code]).toEqual([['deleted', 'deleted'], 0]);
  });

  it('takes a template that went with its endpoint for gone', async () => {
    await switchedOff();
    await cloud.control('PUT', 'faults', ['http-error=deleteTemplate/404:1']);
    const done = await run(everything());
    expect([outcomes(done), done.code]).toEqual([['deleted', 'was_gone', 'deleted'], 0]);
  });

  it('loses nothing to a wrong key, or to the key of another account', async () => {
    await switchedOff();
    place.write('.local-clouds/environment.json', cloud.environment('wrong'));
    await expect(run(everything())).rejects.toMatchObject({ code: 'unauthorized' });
    place.write('.local-clouds/environment.json', cloud.environment());
    // Another account has none of it, and nobody has deleted it either.
    await cloud.control('DELETE', 'state');
    await expect(run(everything())).rejects.toMatchObject({ code: 'old_side_gone' });
    expect(notes()).toEqual([]);
  });

  it('deletes nothing of an endpoint that may still have workers', async () => {
    const done = await run({ deleteEndpoint: [endpointId], confirm: ['picture'] });
    expect([done.sent, outcomes(done), done.code]).toEqual([[], ['blocked'], 3]);
    expect(reasons(done)).toContain('--apply takes them away');
    expect(existsSync(options.out)).toBe(false);
  });
});
