/** What a run stands on: a workspace, clouds with an account and a volume, an engine that counts. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

import { repositoryRoot } from '../test-support/live-workspace.ts';
import { type WorkspaceClone, WorkspaceOrigin } from '../test-support/workspace-clone.ts';
import { RunClouds } from './clouds.ts';
import { NotedEngine } from './engine.ts';
import type { RunOptions } from './options.ts';
import { modelsOfEndpoints, teamWorkspace } from './team-workspace.ts';
import { fillVolume, type PinnedModel } from './volume-files.ts';

/** The account that is imported: both endpoints, their templates, their network volume. */
const ACCOUNT = path.join(repositoryRoot, 'libs/migration/fixtures/accounts/02-ryla-v2.json');

/** The network volume in it. */
export const VOLUME = 'vol9ryla01';

/** Ids of the endpoints on RunPod, by name. */
export const RUNPOD_IDS = { 'flux-schnell': 'jpcxjab2zpro19', 'z-image-turbo': 'xqs8k7yhabwh0k' } as const;

/** All of it; gone with it, unless it is kept. */
export class PreparedRun implements AsyncDisposable {
  readonly folder: string;
  readonly clone: WorkspaceClone;
  readonly clouds: RunClouds;
  readonly engine: NotedEngine;
  /** Models as they are on the volume. */
  readonly models: readonly PinnedModel[];
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<PreparedRun, 'folder' | 'clone' | 'clouds' | 'engine' | 'models'>,
    stack: AsyncDisposableStack,
  ) {
    this.folder = parts.folder;
    this.clone = parts.clone;
    this.clouds = parts.clouds;
    this.engine = parts.engine;
    this.models = parts.models;
    this.#stack = stack;
  }

  /** Prepares a run. */
  static async make(options: RunOptions, signal: AbortSignal): Promise<PreparedRun> {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(path.join(tmpdir(), 'ryla-migration-'));
    if (!options.keep) stack.defer(() => rm(folder, { recursive: true, force: true }));
    const state = path.join(folder, 'clouds');
    await mkdir(state);
    const engine = await NotedEngine.make(path.join(folder, 'engine'), await sourceOfComfySim());
    const origin = await WorkspaceOrigin.make();
    if (!options.keep) stack.use(origin);
    const clone = await teamWorkspace(origin);
    signal.throwIfAborted();
    const clouds = stack.use(
      await RunClouds.start({ folder: state, account: ACCOUNT, engine: engine.folder }),
    );
    signal.throwIfAborted();
    await clone.reach(clouds.printed);
    const volume = clouds.volumeFolder(VOLUME);
    const models = await fillVolume(volume, await modelsOfEndpoints(), options);
    await clouds.startWorkers(path.join(volume, 'models'));
    return new PreparedRun({ folder, clone, clouds, engine, models }, stack.move());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

async function sourceOfComfySim(): Promise<string> {
  const { stdout } = await promisify(execFile)(path.join(repositoryRoot, '.venv/bin/python'), [
    '-c',
    'import comfy_sim, pathlib; print(pathlib.Path(comfy_sim.__file__).parents[1])',
  ]);
  return stdout.trim();
}
