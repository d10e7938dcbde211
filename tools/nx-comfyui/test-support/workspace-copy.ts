/** A copy of the real workspace that may be changed, with Nx and the installed packages at hand. */
import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

const SOURCE = path.resolve(import.meta.dirname, '../../..');

/** The uv that makes Python environments, where it is there already. */
const UV = '.tools/bin/uv';

const exec = promisify(execFile);

/** What a command printed. */
export interface Printed {
  readonly stdout: string;
  readonly stderr: string;
}

/** Files of the workspace that git knows or would take, in a temporary folder, with no way back to the workspace. */
export class WorkspaceCopy implements Disposable {
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  static async make(): Promise<WorkspaceCopy> {
    const root = mkdtempSync(path.join(tmpdir(), 'workspace-'));
    const { stdout } = await exec('git', ['ls-files', '-co', '--exclude-standard', '-z'], { cwd: SOURCE });
    for (const file of stdout.split('\0')) {
      const from = path.join(SOURCE, file);
      if (file !== '' && existsSync(from)) cpSync(from, path.join(root, file), { recursive: true });
    }
    linkPackages(root);
    linkUv(root);
    return new WorkspaceCopy(root);
  }

  /** Runs Nx in the copy, apart from the Nx that may be running this. */
  nx(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Printed> {
    const program = path.join(this.root, 'node_modules/nx/dist/bin/nx.js');
    return this.run(process.execPath, [program, ...args], env);
  }

  /** Runs a program in the copy; rejects with what it printed where it fails. */
  run(
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Printed> {
    const outer = Object.entries(process.env).filter(([name]) => !/^(?:NX_|INIT_CWD$|VITEST)/.test(name));
    return exec(program, [...args], {
      cwd: this.root,
      maxBuffer: 64 * 1024 * 1024,
      env: {
        ...Object.fromEntries(outer),
        NX_DAEMON: 'false',
        NX_ISOLATE_PLUGINS: 'false',
        NX_WORKSPACE_ROOT_PATH: this.root,
        NX_WORKSPACE_DATA_DIRECTORY: path.join(this.root, '.nx/workspace-data'),
        NX_CACHE_DIRECTORY: path.join(this.root, '.nx/cache'),
        NO_COLOR: '1',
        ...env,
      },
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/**
 * Only the program, never an environment: `npm start` in the copy installs the workspace's Python projects editable, from
 * the copy, and must do that into environments of its own.
 */
function linkUv(root: string): void {
  if (!existsSync(path.join(SOURCE, UV))) return;
  mkdirSync(path.dirname(path.join(root, UV)), { recursive: true });
  symlinkSync(path.join(SOURCE, UV), path.join(root, UV));
}

/** The installed packages, and the workspace's own ones from the copy. */
function linkPackages(root: string): void {
  const from = path.join(SOURCE, 'node_modules');
  const to = path.join(root, 'node_modules');
  mkdirSync(path.join(to, '@ryla'), { recursive: true });
  for (const name of readdirSync(from)) {
    if (name !== '@ryla' && name !== '.vite') symlinkSync(path.join(from, name), path.join(to, name));
  }
  for (const name of readdirSync(path.join(from, '@ryla'))) {
    symlinkSync(readlinkSync(path.join(from, '@ryla', name)), path.join(to, '@ryla', name));
  }
}
