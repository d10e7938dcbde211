/** Clones of the real workspace with a git history of their own, its Node packages and its Python environment at hand. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

import { LOCAL_CLOUDS_FILE } from '@ryla/business/local-clouds';
import { linkPackages, nxEnvironment, workspaceFiles } from '@ryla/test-support';

import { type Ended, ended, repositoryRoot } from './live-workspace.ts';

const exec = promisify(execFile);
const IDENTITY = [
  '-c',
  'user.name=Scenario',
  '-c',
  'user.email=scenario@example.com',
  '-c',
  'commit.gpgsign=false',
];

const PROGRAMS = { ryla: 'apps/cli/bin/ryla.js', nx: 'node_modules/nx/dist/bin/nx.js' } as const;

/** A folder with an origin of which clones are made; everything is gone with it. */
export class WorkspaceOrigin implements AsyncDisposable {
  readonly folder: string;
  #clones = 0;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /**
   * One commit with the files that git knows or would take, as they are now.
   *
   * @param endpoints the only ones that it shall have; all without it.
   */
  static async make(endpoints?: readonly string[]): Promise<WorkspaceOrigin> {
    const folder = await mkdtemp(path.join(tmpdir(), 'ryla-scenario-'));
    const root = path.join(folder, 'origin');
    for (const file of await workspaceFiles(repositoryRoot)) {
      const [, endpoint] = /^apps\/endpoints\/([^/]+)\//.exec(file) ?? [];
      const isWanted = endpoints === undefined || endpoint === undefined || endpoints.includes(endpoint);
      if (isWanted) await cp(path.join(repositoryRoot, file), path.join(root, file), { recursive: true });
    }
    await exec('git', ['init', '-q', '-b', 'main'], { cwd: root });
    await exec('git', ['add', '-A'], { cwd: root });
    await exec('git', [...IDENTITY, 'commit', '-q', '-m', 'The workspace'], { cwd: root });
    return new WorkspaceOrigin(folder);
  }

  /** A clone with whatever the origin has on main. */
  async clone(options: { readonly from?: string; readonly depth?: number } = {}): Promise<WorkspaceClone> {
    const root = path.join(this.folder, `clone-${(this.#clones += 1)}`);
    const from = options.from ?? path.join(this.folder, 'origin');
    const depth = options.depth === undefined ? [] : [`--depth=${options.depth}`];
    await exec('git', ['clone', '-q', ...depth, `file://${from}`, root]);
    await linkPackages(repositoryRoot, root);
    await symlink(path.join(repositoryRoot, '.venv'), path.join(root, '.venv'));
    // .gitignore means the folder, and this is a link.
    await writeFile(path.join(root, '.git/info/exclude'), '/.venv\n');
    return new WorkspaceClone(root);
  }

  /** Removes the clones that were made, which nothing may use any more. */
  async removeClones(): Promise<void> {
    for (const name of await readdir(this.folder))
      if (name.startsWith('clone-')) await rm(path.join(this.folder, name), { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** One clone. */
export class WorkspaceClone {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** Lets commands reach local clouds, by the text that `local-clouds` printed. */
  async reach(clouds: string): Promise<void> {
    const file = path.join(this.root, LOCAL_CLOUDS_FILE);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, clouds);
  }

  async git(...args: readonly string[]): Promise<string> {
    const { stdout } = await exec('git', [...IDENTITY, ...args], { cwd: this.root });
    return stdout.trim();
  }

  read(file: string): Promise<string> {
    return readFile(path.join(this.root, file), 'utf8');
  }

  /** Changes a file that exists, and fails where the change changes nothing. */
  async edit(file: string, change: (text: string) => string): Promise<void> {
    const before = await this.read(file);
    const after = change(before);
    if (after === before) throw new Error(`${file} was not changed.`);
    await writeFile(path.join(this.root, file), after);
  }

  append(file: string, text: string): Promise<void> {
    return this.edit(file, (before) => before + text);
  }

  /** Commits everything and returns the commit. */
  async commit(message: string): Promise<string> {
    await this.git('add', '-A');
    await this.git('commit', '-q', '-m', message);
    return this.git('rev-parse', 'HEAD');
  }

  /** Runs the clone's own `ryla`. */
  ryla(...args: readonly string[]): Promise<Ended> {
    return ended(this.start('ryla', args));
  }

  /** Runs the clone's own Nx. */
  nx(...args: readonly string[]): Promise<Ended> {
    return ended(this.start('nx', args));
  }

  /** Starts one of them; `detached` gives it a process group of its own, so that all of it can be killed. */
  start(program: keyof typeof PROGRAMS, args: readonly string[], detached = false): ChildProcess {
    // The environment has the workspace's own Python packages; the clone's come first.
    const sources = ['apps/modal/src', 'libs/worker/src'].map((folder) => path.join(this.root, folder));
    return spawn(process.execPath, [path.join(this.root, PROGRAMS[program]), ...args], {
      cwd: this.root,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached,
      env: {
        ...nxEnvironment(this.root, /^(?:MODAL|RUNPOD|RYLA)_/),
        PYTHONPATH: sources.join(path.delimiter),
      },
    });
  }
}
