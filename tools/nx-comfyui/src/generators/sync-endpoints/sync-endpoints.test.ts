import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

import { logger, type Tree } from '@nx/devkit';
import { listEndpoints, loadEndpoint } from '@ryla/workflow/node';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Desk, filesBelow, workspaceTree } from '../../../test-support/endpoint-tree.ts';
import { resolver, smallerPicture } from '../../../test-support/example-workflows.ts';
import { inputSchema } from '../endpoint/openapi-fragment.ts';
import { workflowEndpoint } from '../workflow-endpoint/workflow-endpoint.ts';
import generator from './generator.ts';
import { syncEndpoints } from './sync-endpoints.ts';

const WORKSPACE = path.resolve(import.meta.dirname, '../../../../..');

let tree: Tree;
let desk: Desk;

beforeEach(async () => {
  vi.spyOn(logger, 'info').mockImplementation(() => undefined);
  tree = workspaceTree();
  desk = new Desk();
  const workflow = desk.put('small.json', smallerPicture());
  await workflowEndpoint(tree, { name: 'small', workflow }, { resolver, nodeMap: undefined });
});
afterEach(() => {
  vi.restoreAllMocks();
  desk[Symbol.dispose]();
});

describe('sync-endpoints', () => {
  it('makes true again whatever was changed, and keeps what is around it', async () => {
    const readme = 'apps/endpoints/small/README.md';
    const own = 'My own words, such as `<!-- /inputs -->`.';
    tree.write(readme, `${own}\n\n${tree.read(readme, 'utf8') ?? ''}\n${own}\n`);
    const before = filesBelow(tree, '.');
    for (const file of ['client.ts', 'openapi.json', 'workflow.svg']) {
      const content = tree.read(`apps/endpoints/small/${file}`, 'utf8') ?? '';
      tree.write(`apps/endpoints/small/${file}`, content.replace('small', 'large'));
    }
    tree.write(readme, (before[readme] ?? '').replace('The picture to work from', 'Something else'));
    tree.write('tsconfig.json', '{ "files": [], "references": [{ "path": "./libs/workflow" }] }\n');
    tree.write('docs/endpoints.md', (before['docs/endpoints.md'] ?? '').replace('Image to image', 'Nothing'));
    await syncEndpoints(tree);
    expect(filesBelow(tree, '.')).toEqual(before);
    expect(before[readme]).toContain(own);
  });

  it('follows endpoint.json', async () => {
    const file = 'apps/endpoints/small/endpoint.json';
    tree.write(file, (tree.read(file, 'utf8') ?? '').replace('"width":', '"pixelsWide":'));
    await syncEndpoints(tree);
    expect(tree.read('apps/endpoints/small/client.ts', 'utf8')).toContain('pixelsWide: z.int()');
    expect(tree.read('apps/endpoints/small/openapi.json', 'utf8')).toContain('"pixelsWide"');
    expect(tree.read('apps/endpoints/small/README.md', 'utf8')).toContain('`pixelsWide`');
    expect(tree.read('docs/endpoints.md', 'utf8')).toContain('pixelsWide');
  });

  it('can be run by hand: nx g calls what a generator returns', async () => {
    expect(await generator(tree, {})).toBeUndefined();
    expect(await generator(tree)).toMatchObject({ outOfSyncDetails: [] });
  });

  it('leaves a client that somebody wrote, and endpoints that cannot be read', async () => {
    tree.write('apps/endpoints/small/client.ts', 'export const mine = 1;\n');
    tree.write('apps/endpoints/broken/endpoint.json', '{ "name": "broken" }\n');
    const before = filesBelow(tree, 'apps/endpoints');
    const { outOfSyncDetails } = await syncEndpoints(tree);
    expect(filesBelow(tree, 'apps/endpoints')).toEqual(before);
    expect(outOfSyncDetails).toEqual([
      expect.stringContaining('broken was left out: endpoint.json is not valid'),
    ]);
  });
});

describe('the OpenAPI fragment', () => {
  const folders = path.join(WORKSPACE, 'apps/endpoints');

  it.each(listEndpoints(folders))('states the inputs of %s as its gateway does', async (name) => {
    const folder = path.join(folders, name);
    const code =
      'import json, sys; from pathlib import Path; from ryla_modal.endpoint_inputs import Endpoint; ' +
      'print(json.dumps(Endpoint.load(Path(sys.argv[1])).input_schema()))';
    const python = path.join(WORKSPACE, '.venv/bin/python');
    const { stdout } = await promisify(execFile)(python, ['-c', code, folder]);
    expect(inputSchema(loadEndpoint(folder).config)).toEqual(JSON.parse(stdout));
  });
});
