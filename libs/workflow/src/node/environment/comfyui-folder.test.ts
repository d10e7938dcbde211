import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { clonedRepository, git, nodePackage, writeFiles } from '../../../test-support/git-repository.ts';
import { parseEndpointConfig } from '../../endpoint-config.ts';
import { type Environment, readEnvironment } from './environment.ts';
import type { PinResolver } from './pin-resolver.ts';

const PIN = `https://huggingface.co/a/b/resolve/${'c'.repeat(40)}/base.safetensors`;

function workflowOf(classes: readonly string[], checkpoint?: string): Record<string, unknown> {
  const nodes = classes.map((name, index) => [String(index + 2), { class_type: name, inputs: {} }]);
  const loader = { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: checkpoint ?? '' } };
  return Object.fromEntries([...(checkpoint === undefined ? [] : [['1', loader]]), ...nodes]) as Record<
    string,
    unknown
  >;
}

function codes({ unpinned }: Environment): Record<string, string> {
  return Object.fromEntries(unpinned.map(({ name, code }) => [name, code]));
}

describe('a local ComfyUI folder', () => {
  let folder = '';
  const custom = (name: string) => path.join(folder, 'custom_nodes', name);
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'comfyui-'));
    writeFiles(folder, { 'main.py': '', 'comfyui_version.py': '__version__ = "0.3.64"\n' });
    mkdirSync(custom(''), { recursive: true });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('in order gives pins that have the same classes', async () => {
    const first = clonedRepository(
      custom('ComfyUI-First'),
      'git@github.com:someone/ComfyUI-First.git',
      nodePackage('First', 'Second'),
    );
    clonedRepository(
      custom('ComfyUI-Spare'),
      'https://github.com/someone/ComfyUI-Spare',
      nodePackage('Spare'),
    );
    writeFiles(folder, { 'models/checkpoints/SDXL/base.safetensors': 'weights' });
    const workflow = workflowOf(['First', 'Second'], 'SDXL/base.safetensors');
    const sha256 = createHash('sha256').update('weights').digest('hex');
    const resolver: PinResolver = {
      file: (url) => Promise.resolve(url.includes('/main/') ? { url: PIN, size: 7, sha256 } : undefined),
      commit: () => Promise.resolve(undefined),
    };
    const modelSources = new Map([
      ['base.safetensors', 'https://huggingface.co/a/b/resolve/main/base.safetensors'],
    ]);

    const environment = await readEnvironment(folder, { workflow, resolver, modelSources });
    expect(environment.unpinned).toEqual([]);
    expect(environment.customNodes).toEqual([
      { name: 'ComfyUI-First', repository: 'https://github.com/someone/ComfyUI-First', commit: first },
    ]);
    expect(environment.models).toEqual([
      { url: PIN, directory: 'checkpoints/SDXL', filename: 'base.safetensors', size: 7, sha256 },
    ]);
    expect(environment).toMatchObject({
      kind: 'comfyui',
      comfyui: { version: '0.3.64' },
      missingClasses: [],
      unused: ['ComfyUI-Spare'],
    });
    expect(() =>
      parseEndpointConfig({
        name: 'local',
        title: 'Local',
        customNodes: environment.customNodes,
        models: environment.models,
        comfyui: environment.comfyui,
      }),
    ).not.toThrow();

    // The code at the pinned commit has the classes that the workflow uses.
    const [pinned] = environment.customNodes;
    const commit = pinned !== undefined && 'commit' in pinned ? pinned.commit : '';
    const code = git(custom('ComfyUI-First'), 'show', `${commit}:__init__.py`);
    for (const name of Object.keys(environment.classes)) expect(code).toContain(`"${name}"`);
    expect(Object.keys(environment.classes)).toEqual(['First', 'Second']);
  });

  it('that was worked on lists each part that nobody else can have', async () => {
    const nodes = {
      changed: 'Changed',
      untracked: 'Untracked',
      local: 'Local',
      ahead: 'Ahead',
      secret: 'Secret',
    };
    for (const [name, className] of Object.entries(nodes)) {
      const remote =
        name === 'local'
          ? undefined
          : `https://${name === 'secret' ? 'me:ghp_token@' : ''}github.com/someone/${name}.git`;
      clonedRepository(custom(name), remote, nodePackage(className));
    }
    writeFileSync(path.join(custom('changed'), '__init__.py'), '# changed: "Changed"\n');
    writeFileSync(path.join(custom('untracked'), 'more.py'), '');
    writeFileSync(path.join(custom('ahead'), 'later.py'), '');
    git(custom('ahead'), 'add', '--all');
    git(custom('ahead'), 'commit', '--quiet', '--message', 'not pushed');
    writeFiles(custom('unpacked'), nodePackage('Unpacked'));
    writeFiles(custom('registered'), {
      ...nodePackage('Registered'),
      '.tracking': '__init__.py\n',
      'pyproject.toml':
        '[project]\nname = "registered-nodes"\nversion = "1.2.3"\n\n[project.urls]\nRepository = "https://github.com/someone/registered"\n',
    });
    writeFileSync(custom('own_node.py'), 'NODE_CLASS_MAPPINGS = {"OwnNode": None}\n');
    writeFiles(custom('gone.disabled'), nodePackage('Gone'));
    const workflow = workflowOf(
      [...Object.values(nodes), 'Unpacked', 'Registered', 'OwnNode', 'Gone'],
      'missing.safetensors',
    );

    const environment = await readEnvironment(folder, { workflow });
    expect(environment.customNodes).toEqual([
      { name: 'registered', registry: 'registered-nodes', version: '1.2.3' },
    ]);
    expect(codes(environment)).toEqual({
      changed: 'dirty_checkout',
      untracked: 'dirty_checkout',
      local: 'no_repository',
      ahead: 'unpublished_commit',
      secret: 'private_repository',
      unpacked: 'no_repository',
      own_node: 'single_file',
      Gone: 'missing_node',
      'missing.safetensors': 'missing_file',
    });
    expect(environment.missingClasses).toEqual(['Gone']);
    expect(JSON.stringify(environment)).not.toContain('ghp_token');
    for (const part of environment.unpinned) expect(part.action, part.name).toMatch(/\.$/);
  });

  it('that is a development version with models elsewhere says so, and pins what can be', async () => {
    const elsewhere = mkdtempSync(path.join(tmpdir(), 'models-'));
    try {
      clonedRepository(folder, 'https://github.com/comfyanonymous/ComfyUI', {
        'main.py': '',
        'README.md': 'ComfyUI',
      });
      git(folder, 'tag', 'v0.3.63');
      const commit = clonedRepository(
        custom('in-worktree'),
        'https://github.com/someone/in-worktree',
        nodePackage('InWorktree'),
      );
      git(custom('in-worktree'), 'pack-refs', '--all');
      writeFiles(elsewhere, { 'unet/flow.safetensors': 'flow', 'loras/style.safetensors': 'style' });
      writeFiles(folder, {
        'extra_model_paths.yaml': `studio:\n  base_path: ${elsewhere}\n  unet: unet\n  loras: |\n    nothing\n    loras\n`,
      });
      symlinkSync(path.join(elsewhere, 'loras'), path.join(elsewhere, 'nothing'));
      const workflow = {
        1: { class_type: 'UNETLoader', inputs: { unet_name: 'flow.safetensors' } },
        2: { class_type: 'LoraLoader', inputs: { lora_name: 'style.safetensors' } },
        3: { class_type: 'InWorktree', inputs: {} },
      };
      const modelSources = new Map([['flow.safetensors', 'https://models.example.com/flow.safetensors']]);
      const environment = await readEnvironment(folder, { workflow, modelSources });
      expect(environment.customNodes).toEqual([
        { name: 'in-worktree', repository: 'https://github.com/someone/in-worktree', commit },
      ]);
      expect(environment.models).toMatchObject([
        { directory: 'diffusion_models', filename: 'flow.safetensors', size: 4 },
      ]);
      expect(codes(environment)).toEqual({
        ComfyUI: 'development_version',
        'style.safetensors': 'no_public_source',
      });
      const style = environment.unpinned.find(({ name }) => name === 'style.safetensors');
      expect(style?.known).toMatchObject({
        directory: 'loras',
        size: 5,
        sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      });
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });

  it('gives a model whose published file is another one to a person', async () => {
    writeFiles(folder, { 'models/checkpoints/base.safetensors': 'mine' });
    const resolver: PinResolver = {
      file: () => Promise.resolve({ url: PIN, size: 4, sha256: 'd'.repeat(64) }),
      commit: () => Promise.resolve(undefined),
    };
    const modelSources = new Map([
      ['base.safetensors', 'https://huggingface.co/a/b/resolve/main/base.safetensors'],
    ]);
    const options = { workflow: workflowOf([], 'base.safetensors'), modelSources };
    expect(codes(await readEnvironment(folder, { ...options, resolver }))).toEqual({
      'base.safetensors': 'different_file',
    });
    expect(codes(await readEnvironment(folder, options))).toEqual({ 'base.safetensors': 'moving_url' });
  });

  it('is not left by a name in the workflow', async () => {
    writeFiles(folder, { 'models/checkpoints/base.safetensors': 'mine', 'secret.safetensors': 'secret' });
    const environment = await readEnvironment(folder, {
      workflow: workflowOf([], '../../secret.safetensors'),
    });
    expect(codes(environment)).toEqual({ 'secret.safetensors': 'missing_file' });
  });

  it('must be one', async () => {
    await expect(readEnvironment(path.join(folder, 'nowhere'))).rejects.toMatchObject({
      code: 'invalid_environment',
    });
    rmSync(path.join(folder, 'main.py'));
    rmSync(custom(''), { recursive: true });
    await expect(readEnvironment(folder)).rejects.toThrow('is no ComfyUI folder');
    writeFiles(folder, { 'notes.txt': '' });
    await expect(readEnvironment(path.join(folder, 'notes.txt'))).rejects.toThrow('give a ComfyUI folder');
  });
});
