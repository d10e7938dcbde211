import { logger, readJson, type Tree, writeJson } from '@nx/devkit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Desk, filesBelow, workspaceTree } from '../../../test-support/endpoint-tree.ts';
import { resolver, smallerPicture } from '../../../test-support/example-workflows.ts';
import { workflowEndpoint } from '../workflow-endpoint/workflow-endpoint.ts';
import { removeEndpoint } from './remove-endpoint.ts';

let tree: Tree;
let desk: Desk;
let said: string[] = [];

beforeEach(() => {
  said = [];
  vi.spyOn(logger, 'info').mockImplementation((text: string) => void said.push(text));
  tree = workspaceTree();
  desk = new Desk();
});
afterEach(() => {
  vi.restoreAllMocks();
  desk[Symbol.dispose]();
});

async function make(name: string): Promise<void> {
  const workflow = desk.put('small.json', smallerPicture());
  await workflowEndpoint(tree, { name, workflow }, { resolver, nodeMap: undefined });
}

describe('remove-endpoint', () => {
  it('leaves the workspace as it was before the endpoint, and says how to undeploy it', async () => {
    await make('first');
    writeJson(tree, 'package.json', { name: 'x', workspaces: ['libs/workflow'] });
    const { 'package.json': _formatted, ...before } = filesBelow(tree, '.');
    await make('second');
    writeJson(tree, 'package.json', { name: 'x', workspaces: ['libs/workflow', 'apps/endpoints/second'] });
    await removeEndpoint(tree, { name: 'second' });
    expect(filesBelow(tree, '.')).toMatchObject(before);
    expect(Object.keys(filesBelow(tree, 'apps/endpoints'))).toEqual(
      Object.keys(filesBelow(tree, 'apps/endpoints/first')),
    );
    expect(readJson(tree, 'package.json')).toEqual({ name: 'x', workspaces: ['libs/workflow'] });
    expect(said.at(-1)).toContain('modal app stop ryla-second');
    expect(tree.read('docs/endpoints.md', 'utf8')).not.toContain('second');
  });

  it('keeps an endpoint that others import, unless it is told to', async () => {
    await make('first');
    tree.write('apps/shop/src/poster.ts', `import { first } from '../../endpoints/first/client.ts';\n`);
    await expect(removeEndpoint(tree, { name: 'first' })).rejects.toThrow('apps/shop/src/poster.ts');
    expect(tree.exists('apps/endpoints/first/endpoint.json')).toBe(true);
    await removeEndpoint(tree, { name: 'first', force: true });
    expect(tree.exists('apps/endpoints/first/endpoint.json')).toBe(false);
  });

  it('removes a broken one too, but nothing that is none', async () => {
    await make('first');
    tree.write('apps/endpoints/first/endpoint.json', '{');
    await removeEndpoint(tree, { name: 'first' });
    expect(tree.exists('apps/endpoints/first')).toBe(false);
    for (const name of ['first', '..', '', '../../libs'])
      await expect(removeEndpoint(tree, { name })).rejects.toThrow('There is no endpoint');
  });
});
