import { execFileSync } from 'node:child_process';
import path from 'node:path';

import { logger, type Tree } from '@nx/devkit';
import type { EndpointConfig } from '@ryla/workflow';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Desk, filesBelow, workspaceTree } from '../../../test-support/endpoint-tree.ts';
import { resolver, smallerPicture, unreachable } from '../../../test-support/example-workflows.ts';
import { workflowEndpoint } from '../workflow-endpoint/workflow-endpoint.ts';
import { customNode } from './custom-node.ts';

const repository = 'https://github.com/example/ComfyUI-Example';

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

function pinned(): EndpointConfig['customNodes'] {
  const document = JSON.parse(
    tree.read('apps/endpoints/small/endpoint.json', 'utf8') ?? '',
  ) as EndpointConfig;
  return document.customNodes;
}

/** A checkout with one commit, pushed to a repository on this machine; its remote is called a public one. */
function checkout(): { readonly folder: string; readonly commit: string } {
  const [folder, bare] = [
    path.join(desk.folder, 'custom_nodes/ComfyUI-Example'),
    path.join(desk.folder, 'bare'),
  ];
  const git = (...args: readonly string[]) =>
    execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@example.com', ...args], {
      stdio: 'pipe',
      env: { PATH: process.env['PATH'], GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' },
    }).toString();
  desk.put('custom_nodes/ComfyUI-Example/__init__.py', 'NODE_CLASS_MAPPINGS = {}\n');
  git('init', '-q', '--bare', bare);
  git('-C', folder, 'init', '-q', '-b', 'main');
  git('-C', folder, 'add', '.');
  git('-C', folder, 'commit', '-q', '-m', 'first');
  git('-C', folder, 'remote', 'add', 'origin', bare);
  git('-C', folder, 'push', '-q', 'origin', 'main');
  git('-C', folder, 'remote', 'set-url', 'origin', `${repository}.git`);
  return { folder, commit: git('-C', folder, 'rev-parse', 'HEAD').trim() };
}

describe('custom-node', () => {
  it('pins the commit of a checkout, and moves it later', async () => {
    const { folder, commit } = checkout();
    await customNode(tree, { endpoint: 'small', repository, ref: 'd'.repeat(40) }, { resolver });
    await customNode(tree, { endpoint: 'small', checkout: folder }, { resolver: unreachable });
    expect(pinned()).toEqual([{ name: 'ComfyUI-Example', repository, commit }]);
    expect(tree.read('apps/endpoints/small/README.md', 'utf8')).toContain(commit.slice(0, 12));
    const before = filesBelow(tree, '.');
    await customNode(tree, { endpoint: 'small', checkout: folder }, { resolver: unreachable });
    expect(filesBelow(tree, '.')).toEqual(before);
  });

  it('refuses a checkout that nobody else could have', async () => {
    const { folder } = checkout();
    desk.put('custom_nodes/ComfyUI-Example/__init__.py', 'changed\n');
    const before = filesBelow(tree, '.');
    await expect(customNode(tree, { endpoint: 'small', checkout: folder }, { resolver })).rejects.toThrow(
      '__init__.py',
    );
    await expect(
      customNode(tree, { endpoint: 'small', checkout: desk.folder }, { resolver }),
    ).rejects.toThrow('not the top of a git checkout');
    expect(filesBelow(tree, '.')).toEqual(before);
  });

  it('asks a repository for its newest commit or that of a version', async () => {
    await customNode(
      tree,
      { endpoint: 'small', repository: `${repository}.git`, name: 'example' },
      { resolver },
    );
    expect(pinned()).toEqual([{ name: 'example', repository, commit: 'c'.repeat(40) }]);
    await customNode(tree, { endpoint: 'small', repository, ref: 'e'.repeat(40) }, { resolver: unreachable });
    expect(pinned(), 'the name stays').toEqual([{ name: 'example', repository, commit: 'e'.repeat(40) }]);
  });

  it('pins a version of the Comfy registry, and takes the place of the same package', async () => {
    const pin = { name: 'ComfyUI-Example', registry: 'comfyui-example', version: '1.2.3' };
    await customNode(tree, { endpoint: 'small', repository, ref: 'd'.repeat(40) }, { resolver });
    const sha256 = 'f'.repeat(64);
    const knowing = { ...resolver, registryArchive: () => Promise.resolve({ sha256 }) };
    await customNode(tree, { endpoint: 'small', registry: 'comfyui-example@1.2.3' }, { resolver: knowing });
    expect(pinned(), 'its folder stays').toEqual([{ ...pin, sha256 }]);
    const published = { endpoint: 'small', registry: 'comfyui-example@1.3.0' };
    await customNode(tree, published, { resolver: unreachable });
    expect(pinned()).toEqual([{ ...pin, version: '1.3.0' }]);
    expect(tree.read('apps/endpoints/small/README.md', 'utf8')).toContain('1.3.0');
  });

  it.each([
    [{}, 'Give one of'],
    [{ checkout: 'a', repository }, 'Give one of'],
    [{ repository, registry: 'x@1.2.3' }, 'Give one of'],
    [{ registry: 'comfyui-kjnodes' }, 'an id and a version'],
    [{ registry: 'comfyui-kjnodes@latest' }, 'an id and a version'],
    [{ registry: '../x@1.2.3' }, 'an id and a version'],
    [{ repository: 'git@github.com:example/x.git' }, 'https address'],
    [{ repository: 'http://example.com/x' }, 'https address'],
    [{ repository: 'https://token@github.com/example/x' }, 'name or token'],
    [{ repository, name: '../../etc', ref: 'a'.repeat(40) }, 'customNodes'],
    [{ repository, ref: 'v1' }, 'was not found'],
  ])('refuses %j', async (options, message) => {
    const before = filesBelow(tree, '.');
    await expect(
      customNode(tree, { endpoint: 'small', ...options }, { resolver: unreachable }),
    ).rejects.toThrow(message);
    expect(filesBelow(tree, '.')).toEqual(before);
  });
});
