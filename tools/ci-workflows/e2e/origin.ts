/** The repository that the workflows run for: the workspace as it is now, with a history of its own. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

import { WORKSPACE_ROOT } from '../src/pinned-tools.ts';
import type { Commits } from './local-github.ts';

const exec = promisify(execFile);
const IDENTITY = ['-c', 'user.name=Test', '-c', 'user.email=test@example.com', '-c', 'commit.gpgsign=false'];

/** Names of the repository on GitHub. */
export const REPOSITORY = 'acme/workspace';

/** A repository in a folder. */
export class Origin implements Commits {
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  /** One commit with the files that git knows or would take. Workflows act on the local clouds: nothing else is changed in them. */
  static async make(root: string): Promise<Origin> {
    const { stdout } = await exec('git', ['ls-files', '-co', '--exclude-standard', '-z'], {
      cwd: WORKSPACE_ROOT,
      maxBuffer: 64 * 1024 * 1024,
    });
    for (const file of stdout.split('\0')) {
      const from = path.join(WORKSPACE_ROOT, file);
      if (file !== '' && existsSync(from)) await cp(from, path.join(root, file), { recursive: true });
    }
    const origin = new Origin(root);
    await origin.#actLocally();
    await origin.#asNewAccount();
    await exec('git', ['init', '-q', '-b', 'main'], { cwd: root });
    await origin.git('remote', 'add', 'origin', `https://github.com/${REPOSITORY}.git`);
    await origin.commit('The workspace');
    return origin;
  }

  async #actLocally(): Promise<void> {
    const folder = path.join(this.root, '.github/workflows');
    for (const file of await readdir(folder)) {
      const text = await readFile(path.join(folder, file), 'utf8');
      await writeFile(path.join(folder, file), text.replaceAll('--target cloud', '--target local'));
    }
    await chmod(path.join(this.root, '.ci/run'), 0o755);
  }

  /** Without what was imported: the RunPod of a run is that of a new account, which has none of these endpoints. */
  async #asNewAccount(): Promise<void> {
    const folder = path.join(this.root, 'apps/endpoints');
    for (const name of await readdir(folder)) {
      const file = path.join(folder, name, 'endpoint.json');
      const text = await readFile(file, 'utf8');
      const config = JSON.parse(text) as { providers: { runpod: { endpointId?: string } } };
      if (config.providers.runpod.endpointId === undefined) continue;
      config.providers.runpod = {};
      await writeFile(file, `${JSON.stringify(config, undefined, 2)}\n`);
    }
  }

  async git(...args: readonly string[]): Promise<string> {
    const { stdout } = await exec('git', [...IDENTITY, ...args], {
      cwd: this.root,
      maxBuffer: 64 * 1024 * 1024,
    });
    return stdout.trim();
  }

  /** Changes a file; a change that changes nothing is a mistake of the test. */
  async edit(file: string, change: (text: string) => string): Promise<void> {
    const place = path.join(this.root, file);
    const before = await readFile(place, 'utf8').catch(() => '');
    const after = change(before);
    if (after === before) throw new Error(`${file} was not changed.`);
    await mkdir(path.dirname(place), { recursive: true });
    await writeFile(place, after);
  }

  async commit(message: string): Promise<string> {
    await this.git('add', '-A');
    await this.git('commit', '-q', '-m', message);
    return this.git('rev-parse', 'HEAD');
  }

  async onMain(): Promise<readonly string[]> {
    return (await this.git('rev-list', 'main')).split('\n');
  }
}
