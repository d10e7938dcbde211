/** What a deploy to Modal records, and where it goes back to, without an account. */
import { loadEndpoint } from '@ryla/workflow/node';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { repositoryRoot } from '../../test-support/live-workspace.ts';
import type { Cloud, Shipment } from './cloud.ts';
import { createModalCloud } from './modal-cloud.ts';
import type { ModalRecords, ModalVersion } from './modal-records.ts';
import { removeAll } from './undeploy-command.ts';

const endpoint = loadEndpoint(path.join(repositoryRoot, 'apps/endpoints/photo-finish'));
const shipment: Shipment = { endpoint, fingerprint: '33333', commit: null };
const output = { json: false, result: (): void => undefined, note: (): void => undefined };

describe('Modal', () => {
  /** Versions by the name of the app, newest first. */
  let apps: Record<string, ModalVersion[]> = {};
  let marks: Record<string, string> = {};
  let done: string[] = [];
  let deployFails = false;

  beforeEach(() => {
    [apps, marks, done, deployFails] = [{}, {}, [], false];
  });

  const version = (number: number, tag: string | null): ModalVersion => ({
    version: `v${number}`,
    tag,
    commit: null,
  });

  const records: ModalRecords = {
    apps: () => Promise.resolve(Object.keys(apps).map((name) => ({ id: name, name }))),
    history: (app) => Promise.resolve(apps['app' in app ? app.app : app.name] ?? []),
    untried: () => Promise.resolve({ ...marks }),
    mark(name, fingerprint) {
      done.push(`mark ${fingerprint}`);
      marks[name] = fingerprint;
      return Promise.resolve();
    },
    unmark(name) {
      done.push('unmark');
      marks = Object.fromEntries(Object.entries(marks).filter(([each]) => each !== name));
      return Promise.resolve();
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };

  function open(smoke = true): Cloud {
    return createModalCloud({
      resolved: { root: '/', target: 'cloud', config: {}, env: {} },
      workspaceRoot: '/',
      smoke,
      records,
      cli: {
        run(args) {
          done.push(args.slice(0, 4).join(' '));
          if (args[0] !== 'deploy') return Promise.resolve('');
          if (deployFails) return Promise.reject(new Error('no room'));
          const history = apps['ryla-photo-finish'] ?? [];
          apps['ryla-photo-finish'] = [version(history.length + 1, '33333'), ...history];
          return Promise.resolve('https://acme--ryla-photo-finish-api.modal.run');
        },
      },
    });
  }

  const DEPLOY = 'deploy comfyui_app.py --tag 33333';

  it('marks a deployment until it has been tried', async () => {
    const deployed = await open().deploy(shipment, null, {});
    expect(await open().live('photo-finish')).toMatchObject({ fingerprint: '33333', untried: true });
    await deployed.accept();
    expect(done).toEqual(['mark 33333', DEPLOY, 'unmark']);
    expect(await open().live('photo-finish')).not.toHaveProperty('untried');
    done = [];
    await open(false).deploy(shipment, null, {});
    expect(done).toEqual([DEPLOY]);
  });

  it('goes back past what nobody has tried', async () => {
    apps['ryla-photo-finish'] = [version(2, '22222'), version(1, '11111')];
    marks['photo-finish'] = '22222';
    const cloud = open();
    const deployed = await cloud.deploy(shipment, await cloud.live('photo-finish'), {});
    expect(await deployed.undo()).toBe('rolled back to v1');
    expect(done.slice(2)).toEqual(['app rollback ryla-photo-finish v1', 'unmark']);
    apps['ryla-photo-finish'] = [version(1, '22222')];
    marks['photo-finish'] = '22222';
    const first = open();
    const alone = await first.deploy(shipment, await first.live('photo-finish'), {});
    expect(await alone.undo()).toMatch(/^stopped/);
  });

  it('keeps the mark of what is live when a deploy fails', async () => {
    apps['ryla-photo-finish'] = [version(1, '22222')];
    deployFails = true;
    const cloud = open();
    const before = await cloud.live('photo-finish');
    await expect(cloud.deploy(shipment, before, {})).rejects.toThrow('no room');
    expect(marks).toEqual({});
    marks['photo-finish'] = '22222';
    await expect(open().deploy(shipment, before, {})).rejects.toThrow('no room');
    expect(marks).toEqual({ 'photo-finish': '22222' });
  });

  it('ends what is ours after a yes, and nothing else', async () => {
    apps = {
      'ryla-photo-finish': [version(1, null)],
      'ryla-gone': [version(1, '11111')],
      'ryla-other': [version(1, null)],
      'ryla-comfyui': [version(1, '11111')],
    };
    const remove = (names: readonly string[], confirmed = names): Promise<void> =>
      removeAll(names, confirmed, open(), ['photo-finish'], output);
    await expect(remove(['photo-finish', 'other'])).rejects.toMatchObject({ code: 'not_managed' });
    await expect(remove(['photo-finish'], [])).rejects.toMatchObject({ code: 'not_confirmed' });
    await remove(['comfyui', 'nothing']);
    expect(done).toEqual([]);
    await remove(['photo-finish', 'gone']);
    expect(done).toEqual(['app stop ryla-photo-finish --yes', 'app stop ryla-gone --yes']);
  });
});
