/** Tools that only the workflows and their tests need: pinned, and installed below .tools when they are first used. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { z } from 'zod';

/** Root of the workspace. */
export const WORKSPACE_ROOT = path.resolve(import.meta.dirname, '../../..');

const PINS = path.join(WORKSPACE_ROOT, 'tools/ci-workflows/tools');
const INSTALLED = path.join(WORKSPACE_ROOT, '.tools/workflows');

/** Tools from PyPI, with the hashes of requirements.txt. */
export type PythonTool = 'act' | 'check-jsonschema' | 'pip-audit' | 'shellcheck' | 'zizmor';

/** Tools that are built from their own source; Go's checksum database vouches for it. */
export type GoTool = 'actionlint' | 'gitleaks';

/** Tools from npm, with the lock file beside this package's pins. */
export type NodeTool = 'attw' | 'publint';

/** The folder of the Python tools, installed if need be. */
export function pythonTools(): string {
  const folder = path.join(INSTALLED, 'python');
  const pins = path.join(PINS, 'requirements.txt');
  installOnce(folder, readFileSync(pins), () => {
    const uv = path.join(WORKSPACE_ROOT, '.tools/bin/uv');
    if (!existsSync(uv)) throw new Error('There is no uv in .tools: `npm run setup` brings it.');
    const python = path.join(WORKSPACE_ROOT, '.venv/bin/python');
    run(uv, ['venv', '--quiet', '--clear', '--python', python, folder]);
    const target = ['--python', path.join(folder, 'bin/python')];
    run(uv, ['pip', 'install', '--quiet', ...target, '--require-hashes', '-r', pins]);
  });
  return path.join(folder, 'bin');
}

/** Program of a Python tool. */
export function pythonTool(name: PythonTool): string {
  return path.join(pythonTools(), name);
}

/**
 * Program of a Go tool.
 *
 * @throws {Error} where Go is not there to build it.
 */
export function goTool(name: GoTool): string {
  const pins = z
    .record(z.string(), z.string())
    .parse(JSON.parse(readFileSync(path.join(PINS, 'go-tools.json'), 'utf8')));
  const module = pins[name];
  if (module === undefined) throw new Error(`${name} is not pinned in go-tools.json.`);
  const folder = path.join(INSTALLED, name);
  installOnce(folder, module, () => {
    if (spawnSync('go', ['version']).status !== 0)
      throw new Error(
        `${name} is built from its source with Go, which is not on PATH: https://go.dev/dl, 1.24 or newer.`,
      );
    say(`building ${module}`);
    run('go', ['install', module], { GOBIN: folder, GOFLAGS: '' });
  });
  const program = path.join(folder, name);
  // gitleaks' module ends in /v8; the program is called after what stands before it.
  if (!existsSync(program)) throw new Error(`${module} did not give a program ${name}.`);
  return program;
}

/** Program of an npm tool. */
export function nodeTool(name: NodeTool): string {
  const folder = path.join(INSTALLED, 'node');
  installOnce(folder, readFileSync(path.join(PINS, 'package-lock.json')), () => {
    for (const file of ['package.json', 'package-lock.json'])
      copyFileSync(path.join(PINS, file), path.join(folder, file));
    run('npm', ['ci', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--silent']);
  });
  return path.join(folder, 'node_modules/.bin', name);
}

function installOnce(folder: string, pins: string | Buffer, install: () => void): void {
  const stamp = path.join(folder, '.pins');
  const wanted = createHash('sha256')
    .update(pins)
    .update(`${process.platform} ${process.arch}`)
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  say(`tools into ${path.relative(WORKSPACE_ROOT, folder)}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  install();
  writeFileSync(stamp, wanted);
}

function run(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): void {
  execFileSync(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'inherit'] });
}

function say(text: string): void {
  console.error(`setup: ${text}`);
}
