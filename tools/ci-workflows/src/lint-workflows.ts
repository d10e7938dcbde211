/** `npm run lint:workflows [-- --online] [actionlint|zizmor|schemas…]`: what the workflows' own linters say. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { goTool, pythonTool, pythonTools, WORKSPACE_ROOT } from './pinned-tools.ts';
import { runStep } from './step-output.ts';

const CHECKS = {
  actionlint: () => [[goTool('actionlint'), '-shellcheck', pythonTool('shellcheck'), '-color']],
  zizmor: (online: boolean) => [
    [pythonTool('zizmor'), ...(online ? [] : ['--offline']), '--no-progress', '.github'],
  ],
  schemas: () => [
    ...schema('github-workflows', files('.github/workflows', /\.yml$/)),
    ...schema('github-actions', files('.github/actions', /\/action\.yml$/)),
    ...schema('dependabot', ['.github/dependabot.yml']),
  ],
} as const satisfies Record<string, (online: boolean) => readonly (readonly string[])[]>;

type Check = keyof typeof CHECKS;

function schema(name: string, checked: readonly string[]): string[][] {
  return [[pythonTool('check-jsonschema'), '--builtin-schema', `vendor.${name}`, ...checked]];
}

function files(folder: string, pattern: RegExp): string[] {
  return readdirSync(path.join(WORKSPACE_ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((file) => `${folder}/${file}`)
    .filter((file) => pattern.test(file))
    .sort();
}

/**
 * Runs checks and returns the names of those that found something.
 *
 * @param online whether zizmor may ask GitHub, with the token in GH_TOKEN.
 */
export function lintWorkflows(checks: readonly Check[], online: boolean): Check[] {
  const env = { ...process.env, PATH: `${pythonTools()}${path.delimiter}${process.env['PATH'] ?? ''}` };
  return checks.filter((check) => {
    const statuses = CHECKS[check](online).map(([program = '', ...args]) => {
      const { error, status } = spawnSync(program, args, { cwd: WORKSPACE_ROOT, env, stdio: 'inherit' });
      if (error !== undefined) throw error;
      return status;
    });
    const passed = statuses.every((status) => status === 0);
    console.log(`${check}: ${passed ? 'nothing found' : 'FAILED'}`);
    return !passed;
  });
}

/** Every check. */
export const ALL_CHECKS: readonly Check[] = ['actionlint', 'zizmor', 'schemas'];

function isCheck(name: string): name is Check {
  return name in CHECKS;
}

if (process.argv[1] === path.resolve(import.meta.filename)) {
  await runStep(() => {
    const args = process.argv.slice(2);
    const names = args.filter((arg) => arg !== '--online');
    const unknown = names.find((name) => !isCheck(name));
    if (unknown !== undefined)
      throw new Error(`There is no check ${unknown}. There are: ${ALL_CHECKS.join(', ')}.`);
    const failed = lintWorkflows(
      names.length === 0 ? ALL_CHECKS : names.filter(isCheck),
      args.includes('--online'),
    );
    if (failed.length > 0) throw new Error(`${failed.join(', ')} found something.`);
  });
}
