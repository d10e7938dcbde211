import { describe, expect, it } from 'vitest';

import { modalStatus, statusLines } from './deployment-status.ts';
import { errorLines } from './error-lines.ts';
import type { RunPodDeployment } from './runpod-status.ts';

/** What modal 1.6.4 printed on the local clouds. */
const printed: Readonly<Record<string, string>> = {
  'app list': JSON.stringify([
    { app_id: 'ap-old', description: 'ryla-poster', state: 'stopped', tasks: '0' },
    { app_id: 'ap-new', description: 'ryla-poster', state: 'deployed', tasks: '1' },
  ]),
  'app history': JSON.stringify([
    {
      version: 'v2',
      time_deployed: '2026-11-25 15:52:41+00:00',
      client: '1.6.4',
      deployed_by: 'ann',
      commit: 'a4cab58*',
      tag: 'f00d',
    },
    { version: 'v1', time_deployed: null, client: '1.6.4', deployed_by: 'ann', commit: null, tag: null },
  ]),
  'container list': JSON.stringify([
    {
      container_id: 'ta-1',
      app_id: 'ap-new',
      app_name: 'ryla-poster',
      start_time: '2026-11-25 15:53:00+00:00',
    },
  ]),
  'app logs': 'fine\nTraceback (most recent call last):\nRuntimeError: no\nno errors? none\n',
};

describe('status of a deployment', () => {
  it('is read from what the modal program prints', async () => {
    const asked: string[] = [];
    const status = await modalStatus('ryla-poster', (args) => {
      asked.push(args.join(' '));
      return Promise.resolve(printed[args.slice(0, 2).join(' ')] ?? '');
    });
    expect(asked).toContain('container list --app-id ap-new --json');
    expect(status).toMatchObject({
      appId: 'ap-new',
      version: 'v2',
      fingerprint: 'f00d',
      commit: 'a4cab58',
      uncommittedChanges: true,
      containers: [{ id: 'ta-1', startedAt: '2026-11-25 15:53:00+00:00' }],
      errors: ['Traceback (most recent call last):'],
    });
    const runpod = {
      endpointId: 'x1',
      jobs: { inQueue: 2 },
      workers: { idle: 1, running: 0 },
      deployment: null,
    };
    const lines = statusLines({ endpoint: 'poster', target: 'here', modal: status, runpod }).join('\n');
    expect(lines).toContain('a4cab58 and changes that are in no commit');
    expect(lines).toContain('workers: 1 idle, 0 running');
  });

  it('is null where nothing is live, and says how to deploy', async () => {
    const modal = await modalStatus('ryla-other', () => Promise.resolve(printed['app list'] ?? ''));
    expect(modal).toBeNull();
    const lines = statusLines({ endpoint: 'other', target: 'here', modal, runpod: null });
    expect(lines).toContain('Modal: not deployed. `npx nx deploy other` deploys it.');
  });

  it('shows each error once, and the latest ones', () => {
    const log = Array.from({ length: 30 }, (_, index) => `Error ${String(index % 15)}`).join('\n');
    expect(errorLines(log)).toEqual(Array.from({ length: 10 }, (_, index) => `Error ${String(index + 5)}`));
  });

  const deployment: RunPodDeployment = {
    name: 'ryla-poster',
    image: 'registry/poster@sha256:1',
    version: 'v3',
    releasedAt: '2026-11-25T15:00:00Z',
    fingerprint: 'f00d',
    commit: 'a4cab58',
    workersMin: 0,
    workersMax: 2,
    workers: [{ id: 'w1', state: 'running', gpu: 'NVIDIA L40S', startedAt: null, isStale: true }],
    errors: [],
  };

  it('on RunPod has the release, the queue, and no more of failed jobs than RunPod tells', () => {
    const jobs = { inQueue: 2, failed: 3 };
    const lines = statusLines({
      endpoint: 'poster',
      target: 'here',
      runpod: { endpointId: 'x1', jobs, workers: {}, deployment },
    });
    expect(lines).toEqual([
      'Endpoint: poster',
      'Target: here',
      'RunPod: ryla-poster (x1) v3, released 2026-11-25T15:00:00Z',
      '  fingerprint: f00d',
      '  commit: a4cab58',
      '  image: registry/poster@sha256:1',
      '  workers: 1 of 0 to 2',
      '    w1 running on NVIDIA L40S, of an older release',
      '  recent errors: none in the logs of active workers',
      '  jobs: 2 inQueue, 3 failed',
      expect.stringContaining('RunPod counts them and lists none'),
    ]);
  });

  it('on RunPod says that it is stopped, what went wrong, and what it could not read', () => {
    const stopped = { ...deployment, workersMax: 0, workers: [], errors: ['RuntimeError: no'] };
    const shown = (each: RunPodDeployment | string): string =>
      statusLines({
        endpoint: 'poster',
        target: 'here',
        runpod: { endpointId: 'x1', jobs: {}, workers: { idle: 1 }, deployment: each },
      }).join('\n');
    expect(shown(stopped)).toContain('v3, stopped, released');
    expect(shown(stopped)).toContain('recent errors, of active workers:\n    RuntimeError: no');
    expect(shown('the key may not')).toContain('deployment: not known: the key may not\n  workers: 1 idle');
  });
});
