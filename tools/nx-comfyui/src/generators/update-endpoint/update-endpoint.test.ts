import { logger, type Tree } from '@nx/devkit';
import type { EndpointConfig } from '@ryla/workflow';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Desk, filesBelow, workspaceTree } from '../../../test-support/endpoint-tree.ts';
import { resolver, textToPicture } from '../../../test-support/example-workflows.ts';
import { workflowEndpoint } from '../workflow-endpoint/workflow-endpoint.ts';
import { updateEndpoint } from './update-endpoint.ts';

const FILE = 'apps/endpoints/fox/endpoint.json';
const sources = { resolver, nodeMap: undefined };

let tree: Tree;
let desk: Desk;
let said: string[] = [];

beforeEach(async () => {
  said = [];
  vi.spyOn(logger, 'info').mockImplementation((text: string) => void said.push(text));
  tree = workspaceTree();
  desk = new Desk();
  await workflowEndpoint(tree, { name: 'fox', workflow: desk.put('fox.json', textToPicture()) }, sources);
});
afterEach(() => {
  vi.restoreAllMocks();
  desk[Symbol.dispose]();
});

type Written = Pick<EndpointConfig, 'inputs' | 'outputs' | 'gpu' | 'models' | 'customNodes'>;

function written(): Written {
  return JSON.parse(tree.read(FILE, 'utf8') ?? '') as Written;
}

function edit(change: (document: Written) => void): void {
  const document = written();
  change(document);
  tree.write(FILE, `${JSON.stringify(document)}\n`);
}

async function update(workflow: unknown): Promise<string> {
  said = [];
  await updateEndpoint(tree, { name: 'fox', workflow: desk.put('new.json', workflow) }, sources);
  return said.join('\n');
}

describe('update-endpoint', () => {
  it('changes nothing for the same workflow', async () => {
    const before = filesBelow(tree, 'apps');
    const report = await update(textToPicture());
    expect(filesBelow(tree, 'apps')).toEqual(before);
    expect(report).toContain('Nodes: no change');
  });

  it('keeps what was edited by hand: names, limits, texts, order, hardware, and what was removed', async () => {
    edit((document) => {
      const { prompt, seed, cfg, ...others } = document.inputs;
      if (prompt?.type !== 'text' || seed === undefined || cfg?.type !== 'number')
        throw new Error('not inferred');
      delete others['batchSize'];
      document.inputs = {
        subject: { ...prompt, maxLength: 100, description: 'An animal.', default: 'a blue fox' },
        seed,
        guidance: { ...cfg, maximum: 9 },
        ...others,
      };
      document.gpu = ['H100'];
    });
    const workflow = textToPicture();
    workflow['5'] = {
      ...workflow['5'],
      inputs: { ...(workflow['5']?.['inputs'] as object), seed: 8, cfg: 20 },
    };
    const report = await update(workflow);
    const { inputs, gpu } = written();
    expect(Object.keys(inputs)).toEqual([
      'subject',
      'seed',
      'guidance',
      'negativePrompt',
      'width',
      'height',
      'steps',
    ]);
    expect(inputs['subject']).toMatchObject({
      maxLength: 100,
      description: 'An animal.',
      default: 'a blue fox',
    });
    expect(inputs['seed']).toMatchObject({ default: 8 });
    expect(inputs['guidance'], 'a default beyond a limit set by hand').toMatchObject({
      maximum: 9,
      default: 6.5,
    });
    expect(gpu).toEqual(['H100']);
    expect(report).toContain('~ seed: default 7 → 8');
    expect(report).toContain('seed changed from 7 to 8');
    expect(tree.read('apps/endpoints/fox/client.ts', 'utf8')).toContain(
      'subject: z.string().max(100).optional()',
    );
  });

  it('follows nodes to their new ids, and adds and removes inputs, outputs and models', async () => {
    edit(({ inputs: { width } }) => {
      if (width !== undefined) width.description = 'Across.';
    });
    const { '4': latent, '7': save, ...others } = textToPicture();
    const report = await update({
      ...others,
      '40': { ...latent, inputs: { width: 640, height: 512, batch_size: 1 } },
      '5': {
        ...others['5'],
        inputs: { ...(others['5']?.['inputs'] as object), latent_image: ['40', 0], model: ['8', 0] },
      },
      '8': {
        class_type: 'LoraLoaderModelOnly',
        inputs: { lora_name: 'sketch.safetensors', strength_model: 0.8, model: ['1', 0] },
      },
      '9': { ...save, inputs: { filename_prefix: 'fox', images: ['10', 0] } },
      '10': { class_type: 'ImageInvert', inputs: { image: ['6', 0] } },
    });
    const { inputs, outputs } = written();
    expect(inputs['width']).toMatchObject({ node: '40', default: 640, description: 'Across.' });
    expect(inputs['loraStrength']).toMatchObject({ node: '8', default: 0.8 });
    expect(outputs).toEqual({ picture: { node: '9', type: 'image' } });
    expect(report).toContain('+ loraStrength: number, node 8');
    expect(report).toContain('sketch.safetensors');
  });

  it('takes an input away whose node is gone', async () => {
    const workflow = textToPicture();
    delete workflow['3'];
    const sampler = workflow['5']?.['inputs'] as object;
    const report = await update({
      ...workflow,
      '5': { ...workflow['5'], inputs: { ...sampler, negative: ['2', 0] } },
    });
    expect(Object.keys(written().inputs)).not.toContain('negativePrompt');
    expect(report).toContain('- negativePrompt: node 3 has no text any more');
  });

  it('adds a package of the Comfy registry that the workflow names with its version, once', async () => {
    const { '7': save, ...others } = textToPicture();
    const workflow = {
      ...others,
      '7': { ...save, inputs: { filename_prefix: 'fox', images: ['8', 0] } },
      // A class that the catalogue can read; the node says whose it is.
      '8': {
        class_type: 'ImageInvert',
        inputs: { image: ['6', 0] },
        _meta: { title: 'Invert', cnr_id: 'invert-nodes', ver: '1.2.3' },
      },
    };
    const report = await update(workflow);
    expect(report).toContain('+ invert-nodes of the Comfy registry');
    const pin = { name: 'invert-nodes', registry: 'invert-nodes', version: '1.2.3' };
    expect(written().customNodes).toEqual([pin]);

    const other = {
      name: 'Invert-Nodes',
      repository: 'https://github.com/a/Invert-Nodes',
      commit: 'a'.repeat(40),
    };
    edit((document) => void (document.customNodes = [other]));
    await update(workflow);
    expect(written().customNodes, 'the same package, pinned by hand').toEqual([other]);
  });

  it('refuses an endpoint that is not there, and names those that are', async () => {
    const workflow = desk.put('new.json', textToPicture());
    await expect(updateEndpoint(tree, { name: 'cat', workflow }, sources)).rejects.toThrow('There are: fox.');
  });
});
