import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';

import { CommandFailed, runProcess } from './child-process.ts';

/** The uv that makes the Python environments (contracts: from the package index, so nothing is installed by hand). */
export const UV_VERSION = '0.13.9';

/** Projects of the uv workspace; their pyproject.toml and the lockfile say what the environments hold. */
const PYTHON_PROJECTS = ['.', 'apps/modal', 'apps/runpod', 'libs/worker', 'tools/local-clouds'];

/** The two environments: one to develop and run in, one for the local clouds' containers. */
export interface PythonEnvironment {
  /** Python of `.venv`: everything, the workspace's own projects installed editable. */
  readonly python: string;
  /** `bin` folder of `.venv`: modal, local-clouds, comfy-sim, pytest, ruff. */
  readonly bin: string;
  /**
   * Python of `.venv-containers`: dependencies only, so that a container which was not given
   * one of our own packages fails here as it would in the cloud.
   */
  readonly containerPython: string;
}

/** Options of {@link setUpPython}. */
export interface SetUpOptions {
  readonly workspaceRoot: string;
  readonly signal?: AbortSignal;
  /** Told what is being done, when anything has to be. */
  readonly onStep?: (step: string) => void;
}

/** Where the environments are, whether or not they exist yet. */
export function pythonEnvironment(workspaceRoot: string): PythonEnvironment {
  return {
    python: path.join(workspaceRoot, '.venv/bin/python'),
    bin: path.join(workspaceRoot, '.venv/bin'),
    containerPython: path.join(workspaceRoot, '.venv-containers/bin/python'),
  };
}

/**
 * Makes both Python environments from the lockfile, or finds in milliseconds that they are up to date.
 *
 * @throws {CommandFailed} with what uv or pip said.
 */
export async function setUpPython(options: SetUpOptions): Promise<PythonEnvironment> {
  const environment = pythonEnvironment(options.workspaceRoot);
  const stampFile = path.join(options.workspaceRoot, '.tools/setup.sha256');
  const wanted = await fingerprint(options.workspaceRoot);
  const present = existsSync(environment.python) && existsSync(environment.containerPython);
  if (present && (await readIfThere(stampFile)) === wanted) return environment;

  const uv = await findUv(options);
  options.onStep?.('Python environments from uv.lock');
  await sync(uv, options, '.venv', []);
  await sync(uv, options, '.venv-containers', ['--no-install-workspace', '--no-dev']);
  await writeFile(`${stampFile}.new`, wanted);
  await rename(`${stampFile}.new`, stampFile);
  return environment;
}

async function sync(
  uv: string,
  options: SetUpOptions,
  folder: string,
  extra: readonly string[],
): Promise<void> {
  await runProcess(uv, ['sync', '--frozen', '--all-packages', ...extra], {
    cwd: options.workspaceRoot,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    env: { UV_PROJECT_ENVIRONMENT: folder, UV_PYTHON_DOWNLOADS: 'never', VIRTUAL_ENV: undefined },
  });
}

async function findUv(options: SetUpOptions): Promise<string> {
  const folder = path.join(options.workspaceRoot, '.tools');
  const uv = path.join(folder, 'bin/uv');
  const said = existsSync(uv) ? await runProcess(uv, ['--version'], signalOf(options)) : undefined;
  if (said?.output.startsWith(`uv ${UV_VERSION} `) === true || said?.output.trim() === `uv ${UV_VERSION}`)
    return uv;
  options.onStep?.(`uv ${UV_VERSION} into .tools`);
  await mkdir(folder, { recursive: true });
  const python = await findPython(options);
  await runProcess(
    python,
    [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--disable-pip-version-check',
      '--upgrade',
      '--target',
      folder,
      `uv==${UV_VERSION}`,
    ],
    signalOf(options),
  );
  return uv;
}

async function findPython(options: SetUpOptions): Promise<string> {
  for (const candidate of ['python3.11', 'python3.12', 'python3']) {
    try {
      const { output } = await runProcess(
        candidate,
        ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])'],
        signalOf(options),
      );
      if (['3.11', '3.12'].includes(output.trim())) return candidate;
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
    }
  }
  throw new CommandFailed(
    'python3',
    null,
    'Python 3.11 or 3.12 was not found on PATH. Install one (with pip) and run the command again.',
  );
}

function signalOf(options: SetUpOptions): { signal?: AbortSignal } {
  return options.signal === undefined ? {} : { signal: options.signal };
}

async function fingerprint(workspaceRoot: string): Promise<string> {
  const hash = createHash('sha256').update(
    `uv ${UV_VERSION} ${process.platform} ${process.arch} ${workspaceRoot}\n`,
  );
  for (const file of ['uv.lock', ...PYTHON_PROJECTS.map((project) => path.join(project, 'pyproject.toml'))]) {
    hash.update(`${file}\n`).update(await readFile(path.join(workspaceRoot, file)));
  }
  return hash.digest('hex');
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    return undefined;
  }
}
