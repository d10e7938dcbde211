/** What the commands about workflow files say, without starting them. */
import { coreObjectInfo } from '@ryla/workflow/node';
import { describe, expect, it } from 'vitest';

import { sarif, type WorkflowFinding } from './sarif.ts';
import { inspectWorkflow } from './workflow-inspection.ts';
import { lineOfNode } from './workflow-lint.ts';
import { inspectionText } from './workflow-report.ts';

const catalogue = { classes: coreObjectInfo(), server: undefined };

const TEXT_TO_IMAGE = {
  '4': {
    class_type: 'CheckpointLoaderSimple',
    inputs: { ckpt_name: 'v1-5-pruned-emaonly-fp16.safetensors' },
  },
  '5': { class_type: 'EmptyLatentImage', inputs: { width: 512, height: 512, batch_size: 1 } },
  '6': { class_type: 'CLIPTextEncode', inputs: { text: 'a red fox', clip: ['4', 1] } },
  '7': { class_type: 'CLIPTextEncode', inputs: { text: 'blurry', clip: ['4', 1] } },
  '3': {
    class_type: 'KSampler',
    inputs: {
      ...{ seed: 7, steps: 20, cfg: 8, sampler_name: 'euler', scheduler: 'normal', denoise: 1 },
      ...{ model: ['4', 0], positive: ['6', 0], negative: ['7', 0], latent_image: ['5', 0] },
    },
  },
  '8': { class_type: 'VAEDecode', inputs: { samples: ['3', 0], vae: ['4', 2] } },
  '9': { class_type: 'SaveImage', inputs: { images: ['8', 0], filename_prefix: 'fox' } },
};

describe('inspect', () => {
  it('tells inputs and why, outputs, models, determinism and the GPU with its rule', async () => {
    const found = await inspectWorkflow(TEXT_TO_IMAGE, catalogue);
    expect(found).toMatchObject({
      format: 'api',
      nodes: 7,
      outputs: [{ name: 'picture', node: '9', class: 'SaveImage', type: 'image' }],
      models: [
        { filename: 'v1-5-pruned-emaonly-fp16.safetensors', directory: 'checkpoints', url: undefined },
      ],
      determinism: { class: 'cpu-noise' },
      gpu: { gpu: 'T4' },
      partnerNodes: [],
    });
    expect(found.inputs.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['prompt', 'negativePrompt', 'seed', 'steps']),
    );
    const text = inspectionText('fox.json', found);
    for (const part of [
      'fox.json: API format, 7 nodes',
      found.inputs[0]!.why,
      'checkpoints/v1-5-pruned-emaonly-fp16.safetensors',
      'the file names no source',
      'No custom nodes.',
      'Smallest GPU: T4',
      found.gpu.rule,
    ])
      expect(text).toContain(part);
  });

  it('says of a custom node where it is from, or that it is not known', async () => {
    const value = {
      nodes: [
        {
          id: 1,
          type: 'Named',
          properties: { aux_id: 'somebody/nodes', ver: 'a'.repeat(40) },
          inputs: [],
          outputs: [],
        },
        { id: 2, type: 'Nameless', properties: {}, inputs: [], outputs: [] },
      ],
      links: [],
      version: 0.4,
    };
    const found = await inspectWorkflow(value, catalogue);
    expect(found).toMatchObject({
      format: 'ui',
      nodes: 2,
      hash: undefined,
      inputs: [],
      determinism: undefined,
    });
    const text = inspectionText('custom.json', found);
    expect(text).toContain('https://github.com/somebody/nodes (aaaaaaaaaaaa)');
    expect(text).toMatch(/Nameless +2 +unknown/);
    expect(text).toContain('--object-info');
  });

  it('says which values are no inputs, and why', async () => {
    const resize = { upscale_method: 'of another version', width: 64, height: 64, crop: 'disabled' };
    const found = await inspectWorkflow(
      {
        '1': { class_type: 'LoadImage', inputs: { image: 'a.png' } },
        '2': { class_type: 'ImageScale', inputs: { image: ['1', 0], ...resize, width: 'wide' } },
        '3': { class_type: 'SaveImage', inputs: { images: ['2', 0], filename_prefix: 'x' } },
      },
      catalogue,
    );
    expect(found.brokenInputs.map(({ field }) => field)).toContain('width');
    expect(inspectionText('broken.json', found)).toContain('Node 2 (ImageScale) has');
  });
});

describe('lint', () => {
  it('finds the line of a node in either format', () => {
    const api = JSON.stringify(
      { '1': { class_type: 'A' }, '12': { class_type: 'B', inputs: { n: '1' } } },
      null,
      2,
    );
    expect(lineOfNode(api, '12', false)).toBe(5);
    expect(lineOfNode(api, '99', false)).toBeUndefined();
    const ui = JSON.stringify(
      { nodes: [{ id: 3 }], definitions: { subgraphs: [{ nodes: [{ id: 3 }] }] } },
      null,
      1,
    );
    expect(lineOfNode(ui, '3', true)).toBe(4);
    expect(lineOfNode(ui, '7:3', true)).toBe(12);
  });

  it('gives SARIF with one rule for each code, and paths from where it was run', () => {
    const finding = (file: string, nodeId: string | undefined): WorkflowFinding => ({
      ...{
        file,
        nodeId,
        level: 'error',
        code: 'unknown_class',
        message: 'm',
        line: nodeId === undefined ? undefined : 4,
      },
    });
    const document = sarif(
      [finding('/repo/my flows/a.json', '3'), finding('b.json', undefined)],
      '/repo',
      '1.2.3',
    );
    expect(document).toMatchObject({
      version: '2.1.0',
      runs: [
        {
          tool: { driver: { version: '1.2.3', rules: [{ id: 'unknown_class' }] } },
          results: [
            {
              level: 'error',
              locations: [
                {
                  physicalLocation: {
                    artifactLocation: { uri: 'my%20flows/a.json' },
                    region: { startLine: 4 },
                  },
                },
              ],
            },
            {
              locations: [
                { physicalLocation: { artifactLocation: { uri: 'b.json' }, region: { startLine: 1 } } },
              ],
            },
          ],
        },
      ],
    });
  });
});
