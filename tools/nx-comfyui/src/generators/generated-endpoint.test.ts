/** One workflow, as a user has it: from a file to an endpoint with types, by the real Nx, in a copy of the workspace. */
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Desk } from '../../test-support/endpoint-tree.ts';
import { smallerPicture } from '../../test-support/example-workflows.ts';
import { WorkspaceCopy } from '../../test-support/workspace-copy.ts';

const NAME = 'smaller-picture';

/** A caller's code: what must compile, and what must not. */
const USE = `import type { InputsOf } from '@ryla/workflow';

import type { smallerPicture } from './client.ts';

type Inputs = InputsOf<typeof smallerPicture>;

export const right: Inputs = { image: { path: 'a.png' }, width: 64 };
// @ts-expect-error the picture must be given
export const missing: Inputs = { width: 64 };
// @ts-expect-error a picture is a file
export const text: Inputs = { image: 'a.png' };
// @ts-expect-error a name that is no input's
export const unknown: Inputs = { image: { path: 'a.png' }, widht: 64 };
`;

let copy: WorkspaceCopy;
let desk: Desk;
let folder = '';

beforeAll(async () => {
  copy = await WorkspaceCopy.make();
  desk = new Desk();
  folder = path.join(copy.root, 'apps/endpoints', NAME);
}, 60_000);
afterAll(() => {
  desk[Symbol.dispose]();
  copy[Symbol.dispose]();
});

async function generate(...options: readonly string[]): Promise<string> {
  const workflow = desk.put('smaller.json', smallerPicture());
  const generator = ['g', '@ryla/nx-comfyui:workflow-endpoint', NAME, `--workflow=${workflow}`];
  const { stdout } = await copy.nx([...generator, '--no-interactive', ...options]);
  return stdout;
}

describe('nx g @ryla/nx-comfyui:workflow-endpoint', () => {
  it('shows with --dry-run what it would do, and does nothing', { timeout: 60_000 }, async () => {
    expect(await generate('--dry-run')).toMatchSnapshot();
    expect(existsSync(folder)).toBe(false);
  });

  // It runs on the local clouds, and is linted, by `npm run test:endpoints`: that needs Python environments of its own.
  // Here the endpoints of the workspace, whose clients and tests are made alike, do.
  it(
    'makes an endpoint whose callers have types, and whose inputs reach its workflow',
    { timeout: 240_000 },
    async () => {
      await generate();
      writeFileSync(path.join(folder, 'use.ts'), USE);
      const program = (name: string) => path.join(copy.root, 'node_modules/.bin', name);
      await copy.run(program('tsc'), ['--build', `apps/endpoints/${NAME}`]);
      await copy.run(program('vitest'), ['run', '--root', `apps/endpoints/${NAME}`, '-t', 'inputs']);
    },
  );
});
