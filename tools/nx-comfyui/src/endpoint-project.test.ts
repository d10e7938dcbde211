import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { createNodes, createNodesV2, ENDPOINT_GLOB } from './plugin.ts';

describe('inference', () => {
  let workspaceRoot = '';
  const root = 'apps/endpoints/poster';
  const file = `${root}/endpoint.json`;

  beforeEach(() => {
    workspaceRoot = mkdtempSync(path.join(tmpdir(), 'nx-comfyui-'));
    mkdirSync(path.join(workspaceRoot, root), { recursive: true });
  });
  afterEach(() => rmSync(workspaceRoot, { recursive: true }));

  async function infer(text?: string) {
    if (text !== undefined) writeFileSync(path.join(workspaceRoot, file), text);
    const [result] = await createNodes[1]([file], undefined, { workspaceRoot, nxJsonConfiguration: {} });
    const project = result?.[1].projects?.[root];
    if (project === undefined) throw new Error('No project was inferred.');
    return project;
  }

  it('watches endpoint.json only, under both names of the interface', () => {
    expect(createNodes[0]).toBe(ENDPOINT_GLOB);
    expect(createNodesV2).toBe(createNodes);
  });

  it('makes a library named after its folder that implies both apps', async () => {
    const project = await infer('{"description":"Makes posters."}');
    expect(project).toMatchObject({
      name: 'poster',
      projectType: 'library',
      tags: ['type:endpoint', 'scope:endpoint'],
      implicitDependencies: ['modal', 'runpod'],
      metadata: { description: 'Makes posters.' },
    });
    expect(Object.keys(project.targets ?? {})).toEqual(
      expect.arrayContaining([
        'validate',
        'run',
        'models',
        'lock',
        'edit',
        'status',
        'logs',
        'stop',
        'costs',
        'deploy',
        'fingerprint',
        'lint',
        'typecheck',
        'test',
      ]),
    );
  });

  it('never deploys what an endpoint depends on', async () => {
    const { targets = {} } = await infer('{}');
    expect(JSON.stringify(targets)).not.toContain('^deploy');
  });

  it('brings models to the local clouds unless told otherwise, and never as a part of a deploy', async () => {
    const { targets = {} } = await infer('{}');
    expect(targets['models']).toMatchObject({
      cache: false,
      options: { command: `node --conditions=@ryla/source tools/nx-comfyui/src/models.ts ${root}` },
      configurations: { cloud: { args: '--target cloud' } },
    });
    expect(JSON.stringify(targets['deploy'])).not.toContain('models');
  });

  it('fingerprints the workflow file that endpoint.json names', async () => {
    const { targets = {} } = await infer('{"workflow":"graph.json"}');
    expect(targets['fingerprint']?.inputs).toContain('{projectRoot}/graph.json');
    expect(targets['fingerprint']?.dependsOn).toBeUndefined();
  });

  it('fingerprints the files that inputs have by default, which are deployed too', async () => {
    const inputs = {
      photo: { type: 'image', default: 'photo.jpg' },
      prompt: { type: 'text', default: 'README.md' },
      outside: { type: 'image', default: '../../secret.png' },
      none: { type: 'image' },
    };
    const { targets = {} } = await infer(JSON.stringify({ inputs }));
    const files = targets['fingerprint']?.inputs?.filter(
      (input) => typeof input === 'string' && input.startsWith('{projectRoot}'),
    );
    expect(files).toEqual([
      '{projectRoot}/endpoint.json',
      '{projectRoot}/workflow.json',
      '{projectRoot}/photo.jpg',
      '{projectRoot}/requirements/**/*',
    ]);
  });

  it.each([
    [{ warmUp: 'warm-up.json' }, ['warm-up.json']],
    [{ warmUp: { workflow: 'small.json', required: true } }, ['small.json']],
    [{ warmUp: true, environments: { dev: { warmUp: 'dev.json' }, prod: {} } }, ['dev.json']],
    [{ warmUp: '../outside.json', environments: [null] }, []],
  ])('fingerprints the workflow of %j', async (config, files) => {
    const { targets = {} } = await infer(JSON.stringify(config));
    const own = targets['fingerprint']?.inputs?.filter(
      (input) => typeof input === 'string' && /^\{projectRoot\}\/.*\.json$/.test(input),
    );
    const named = files.map((file) => `{projectRoot}/${file}`);
    expect(own).toEqual(['{projectRoot}/endpoint.json', '{projectRoot}/workflow.json', ...named]);
  });

  it('has a fingerprint for RunPod, whose jobs bring their workflow', async () => {
    const { targets = {} } = await infer('{}');
    const inputs = targets['fingerprint-runpod']?.inputs;
    expect(inputs).toContain('{workspaceRoot}/apps/runpod/src/**/*');
    expect(inputs).not.toContain('{projectRoot}/workflow.json');
  });

  it.each([
    ['broken JSON', '{"name":'],
    ['a list', '[]'],
    ['null', 'null'],
    ['fields of other types', '{"workflow":7,"description":{}}'],
    ['a workflow outside its folder', '{"workflow":"../../secret.json"}'],
    ['no file at all', undefined],
  ])('keeps the graph whole over %s', async (_case, text) => {
    const { name, targets = {} } = await infer(text);
    expect(name).toBe('poster');
    expect(targets['fingerprint']?.inputs).toContain('{projectRoot}/workflow.json');
  });
});
