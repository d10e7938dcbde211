/** A copy of the real workspace that may be changed, with Nx and the installed packages at hand. */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

import { linkPackages, nxEnvironment, workspaceFiles } from '@ryla/test-support';

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
    for (const file of await workspaceFiles(SOURCE))
      cpSync(path.join(SOURCE, file), path.join(root, file), { recursive: true });
    await linkPackages(SOURCE, root);
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
    return exec(program, [...args], {
      cwd: this.root,
      maxBuffer: 64 * 1024 * 1024,
      env: { ...nxEnvironment(this.root), ...env },
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
