/** The Modal environment of a pull request: made with the secret that its apps need, and removed. Both may be repeated. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';

import { z } from 'zod';

import { runStep } from './step-output.ts';

/** Runs `modal` and returns what it printed; throws with what it said when it fails. */
export type RunModal = (args: readonly string[]) => string;

/** Only these are ours to remove. */
const NAME = /^pr-[1-9][0-9]{0,9}$/;

const listed = z.array(z.object({ name: z.string() }));

/** Makes the environment, where it is not there, and its secret anew. Returns what was done. */
export function makeEnvironment(name: string, apiToken: string, modal: RunModal): string {
  checkName(name);
  if (apiToken === '')
    throw new Error('RYLA_API_TOKEN is empty: set the secret in the environment modal-preview.');
  const isThere = environments(modal).includes(name);
  if (!isThere) modal(['environment', 'create', name]);
  modal(['secret', 'create', '--force', '--env', name, 'ryla-secrets', `RYLA_API_TOKEN=${apiToken}`]);
  return isThere ? `${name} is there` : `${name} made`;
}

/** Removes the environment with every app, secret and volume in it. */
export function removeEnvironment(name: string, modal: RunModal): string {
  checkName(name);
  if (!environments(modal).includes(name)) return `${name} is not there`;
  modal(['environment', 'delete', name, '--yes']);
  return `${name} removed`;
}

function environments(modal: RunModal): string[] {
  return listed.parse(JSON.parse(modal(['environment', 'list', '--json']))).map(({ name }) => name);
}

function checkName(name: string): void {
  if (!NAME.test(name))
    throw new Error(`A preview is called pr-<number of the pull request>, not "${name}".`);
}

const runModal: RunModal = (args) => {
  const modal = path.resolve('.venv/bin/modal');
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined, COLUMNS: '500' };
  const { error, status, stdout, stderr } = spawnSync(modal, args, { encoding: 'utf8', env });
  if (error !== undefined) throw error;
  // Without the arguments: one of them is a secret.
  if (status !== 0) throw new Error(`modal ${args.slice(0, 2).join(' ')} failed:\n${stderr}${stdout}`.trim());
  return stdout;
};

if (process.argv[1] === path.resolve(import.meta.filename)) {
  await runStep(() => {
    const [command, name = ''] = process.argv.slice(2);
    if (command === 'make') console.log(makeEnvironment(name, process.env['RYLA_API_TOKEN'] ?? '', runModal));
    else if (command === 'remove') console.log(removeEnvironment(name, runModal));
    else throw new Error('Usage: preview-environment.ts make|remove pr-<number>');
  });
}
