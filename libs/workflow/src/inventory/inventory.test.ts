import { describe, expect, it } from 'vitest';
import { z } from 'zod';

import { COMMUNITY_WORKFLOWS } from '../../test-support/community-workflows.ts';
import { readTemplate, templateTexts } from '../../test-support/template-packages.ts';
import { node, graph } from '../../test-support/ui-graph.ts';
import { coreObjectInfo } from '../node/core-catalogue.ts';
import { loadNodeMap } from '../node/manager-map.ts';
import { takeInventory } from '../node/take-inventory.ts';
import { type CustomClass } from './custom-nodes.ts';
import type { Inventory } from './inventory.ts';
import { parseNodeMap } from './node-map.ts';

const core = coreObjectInfo();
const loaded = loadNodeMap({ from: import.meta.dirname });
const nodeMap = loaded?.map;

function inventory(workflow: unknown, options: Parameters<typeof takeInventory>[1] = {}): Inventory {
  return takeInventory(workflow, { ...(nodeMap === undefined ? {} : { nodeMap }), ...options });
}

function told({ source }: CustomClass): string {
  if (source.kind === 'repository') return source.repository;
  return source.kind === 'registry' ? `registry:${source.registry.id}` : '?';
}

describe('the models of the published templates', () => {
  it('are all found', () => {
    const pairs = { declared: 0, found: 0, entries: 0, files: 0, withUrl: 0, pinned: 0 };
    for (const [file, text] of templateTexts('comfyui-workflow-templates-json@0.1.123')) {
      const value: unknown = JSON.parse(text);
      const models = inventory(value).models;
      const names = new Set(models.map(({ filename }) => filename));
      const declared = declaredNames(value);
      pairs.files += 1;
      pairs.entries += models.reduce((total, model) => total + model.declaredBy.length, 0);
      for (const name of new Set(declared)) {
        pairs.declared += 1;
        if (names.has(name)) pairs.found += 1;
        const model = models.find(({ filename, declaredBy }) => filename === name && declaredBy.length > 0);
        if (model?.url !== undefined && model.directory !== undefined) pairs.withUrl += 1;
        if (model?.pinned === true) pairs.pinned += 1;
      }
      expect(models.length, file).toBeGreaterThanOrEqual(new Set(declared).size);
    }
    console.table(pairs);
    expect(pairs).toEqual({ declared: 999, found: 999, entries: 1204, files: 644, withUrl: 999, pinned: 0 });
  }, 30_000);
});

/** By search alone, without the code under test. */
function declaredNames(value: unknown): string[] {
  const names: string[] = [];
  const pending = [value];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (typeof next !== 'object' || next === null) continue;
    const entries = Object.entries(next as Record<string, unknown>);
    for (const [key, inner] of entries) {
      if (key === 'properties' && typeof inner === 'object' && inner !== null) {
        const models: unknown = (inner as Record<string, unknown>)['models'];
        for (const model of Array.isArray(models) ? (models as { name: string }[]) : [])
          names.push(model.name);
      } else if (inner !== null && inner !== undefined) pending.push(inner);
    }
  }
  return names;
}

describe('custom nodes', () => {
  it.each(COMMUNITY_WORKFLOWS)('are resolved or reported, never guessed: $name', ({ workflow, expected }) => {
    expect(loaded, 'comfyui-manager is not in .venv: run npm test once, or uv sync').toBeDefined();
    const found = inventory(workflow).customClasses;
    expect(Object.fromEntries(found.map((one) => [one.className, told(one)]))).toEqual(expected);
  });

  it('are 20 workflows', () => {
    expect(COMMUNITY_WORKFLOWS).toHaveLength(20);
  });

  it('of the templates are none', () => {
    for (const [file, text] of templateTexts('comfyui-workflow-templates-json@0.1.123')) {
      const known = inventory(JSON.parse(text)).customClasses.filter(
        ({ source }) => source.kind === 'repository',
      );
      expect(
        known.map(({ className }) => className),
        file,
      ).toEqual([]);
    }
  }, 30_000);

  it('are told by the folder that the server has them in', () => {
    const server = {
      ApplyInstantID: {
        name: 'ApplyInstantID',
        input: {},
        output: [],
        python_module: 'custom_nodes.ComfyUI_InstantID',
      },
    };
    const workflow = { 1: { class_type: 'ApplyInstantID', inputs: {} } };
    const [found] = inventory(workflow, { server }).customClasses;
    expect(found?.source).toMatchObject({
      kind: 'repository',
      repository: 'https://github.com/cubiq/ComfyUI_InstantID',
    });
  });

  it('keep the commit that the workflow names', () => {
    const commit = 'a'.repeat(40);
    const workflow = {
      1: { class_type: 'Any', inputs: {}, _meta: { aux_id: 'someone/nodes', ver: commit } },
    };
    expect(inventory(workflow).customClasses[0]?.source).toMatchObject({
      repository: 'https://github.com/someone/nodes',
      commit,
    });
  });

  it('of which only the map tells may be classes of a newer ComfyUI', () => {
    const other = { class_type: 'KSampler', inputs: {}, _meta: { cnr_id: 'comfy-core', ver: '0.9.2' } };
    const [found] = inventory({ 1: { class_type: 'ImageResizeKJv2', inputs: {} }, 2: other }).customClasses;
    expect(found?.source).toMatchObject({
      kind: 'ambiguous',
      candidates: ['https://github.com/kijai/ComfyUI-KJNodes'],
      evidence: expect.stringContaining('0.9.2') as string,
    });
  });

  it('need a map that is one', () => {
    expect(() => parseNodeMap([])).toThrow(expect.objectContaining({ code: 'invalid_node_map' }));
    expect(() => parseNodeMap({ 'https://x': 'no list' })).toThrow('has no list of classes');
    expect(parseNodeMap({ 'https://x': [['A'], { nodename_pattern: '(' }] }).candidates('B')).toEqual([]);
  });
});

describe('the inventory of a workflow', () => {
  const loader = (id: number, type: string, file: string, more: object = {}) => node(id, type, [file], more);

  it('lists models with folder, and which nodes load them', () => {
    const workflow = graph([
      loader(1, 'CheckpointLoaderSimple', 'SDXL/base.safetensors'),
      loader(2, 'CheckpointLoaderSimple', 'SDXL/base.safetensors', { mode: 4 }),
      loader(3, 'LoraLoader', 'spare.safetensors', { mode: 2 }),
    ]);
    const { models, weights } = inventory(workflow);
    expect(models).toMatchObject([
      {
        filename: 'base.safetensors',
        subfolder: 'SDXL',
        directory: 'checkpoints',
        loadedBy: ['1', '2'],
        active: true,
      },
      { filename: 'spare.safetensors', directory: 'loras', active: false },
    ]);
    expect(weights.map(({ filename }) => filename)).toEqual(['base.safetensors']);
  });

  it('takes today’s names for folders, a pinned URL and a SHA-256', () => {
    const sha256 = 'b'.repeat(64);
    const url = `https://huggingface.co/a/b/resolve/${'c'.repeat(40)}/t5.safetensors`;
    const model = {
      name: 't5.safetensors',
      url,
      directory: 'clip',
      hash: sha256.toUpperCase(),
      hash_type: 'SHA256',
    };
    const workflow = graph([
      node(1, 'CLIPLoader', ['t5.safetensors', 'sd3'], { properties: { models: [model] } }),
    ]);
    expect(inventory(workflow).models).toEqual([
      expect.objectContaining({
        directory: 'text_encoders',
        url,
        pinned: true,
        sha256,
        declaredBy: ['1'],
        loadedBy: ['1'],
      }),
    ]);
  });

  it('calls a GPU rough only where sizes that are not known could change it', () => {
    const loaders = (unet_name: string) => ({
      1: { class_type: 'UNETLoader', inputs: { unet_name } },
      2: { class_type: 'LoraLoader', inputs: { lora_name: 'mine.safetensors' } },
    });
    expect(inventory(loaders('flux1-dev.safetensors')).gpu).toMatchObject({ needs: 'one', isRough: false });
    expect(inventory(loaders('of_unknown_size.safetensors')).gpu).toMatchObject({ isRough: true });
    expect(inventory(loaders('giant_200B_fp16.safetensors')).gpu).toMatchObject({ needs: 'several' });
  });

  it('keeps files of one name in two folders apart', () => {
    const workflow = {
      1: { class_type: 'VAELoader', inputs: { vae_name: 'model.safetensors' } },
      2: { class_type: 'UNETLoader', inputs: { unet_name: 'model.safetensors' } },
    };
    expect(inventory(workflow).models.map(({ directory }) => directory)).toEqual(['vae', 'diffusion_models']);
  });

  it.each([
    ['euler', 'cpu-noise'],
    ['dpmpp_2m_sde', 'cpu-noise'],
    ['euler_ancestral', 'device-noise'],
    ['dpmpp_2m_sde_gpu', 'device-noise'],
    ['res_2s', 'unknown'],
  ])('says what a seed means with %s', (sampler, expected) => {
    const workflow = { 1: { class_type: 'KSampler', inputs: { sampler_name: sampler, seed: 1 } } };
    expect(inventory(workflow).determinism?.class).toBe(expected);
  });

  it('knows every sampler of the catalogue', () => {
    const [samplers] = core['KSampler']?.input.required?.['sampler_name'] ?? [];
    for (const sampler of samplers as string[]) {
      const workflow = { 1: { class_type: 'KSampler', inputs: { sampler_name: sampler } } };
      expect(inventory(workflow).determinism?.class, sampler).not.toBe('unknown');
    }
  });

  it('names the nodes that spend money elsewhere', () => {
    const workflow = {
      1: { class_type: 'LumaImageModifyNode', inputs: { seed: 1 } },
      2: { class_type: 'SaveImage', inputs: {} },
    };
    const { partnerNodes, determinism } = inventory(workflow);
    expect(partnerNodes).toEqual([
      { node: '1', className: 'LumaImageModifyNode', partner: 'Luma', statedBy: 'object_info' },
    ]);
    expect(determinism).toMatchObject({ class: 'remote', nodes: ['1'] });
  });

  it.each([
    ['GrokVideoNode', undefined, 'xAI Grok', 'class name'],
    ['Flux2ImageNode', { cnr_id: 'comfy-core', ver: '0.12.0' }, 'BFL', 'class name'],
    ['Wan3ImageToVideoApi', { cnr_id: 'comfy-core' }, undefined, 'class name'],
    ['AnyName', { cnr_id: 'comfyui-fal-api', ver: '1.0.0' }, 'fal', 'package name'],
    ['AnyName', { aux_id: 'KwaiVGI/ComfyUI-KLingAI-API' }, 'KLingAI', 'package name'],
    // Only ComfyUI-Manager's map tells, and the one package that it names is a service's.
    ['BriaEraser', undefined, 'BRIA', 'package name'],
  ])('knows partners that are newer than the catalogue: %s', (className, meta, partner, statedBy) => {
    const node = { class_type: className, inputs: {}, ...(meta === undefined ? {} : { _meta: meta }) };
    const { partnerNodes, gpu, determinism } = inventory({ 1: node });
    expect(partnerNodes).toEqual([{ node: '1', className, partner, statedBy }]);
    expect(determinism).toMatchObject({ class: 'remote', nodes: ['1'] });
    expect(gpu).toMatchObject({ needs: 'none', gpu: undefined, neededGb: 0, isRough: false });
    expect(gpu.rule).toContain('a CPU is enough');
  });

  it.each([
    ['KlingLikeNode', { cnr_id: 'my-nodes', ver: '1.0.0' }],
    ['TripoSplatConditioning', { cnr_id: 'comfy-core' }],
    ['Flux2Scheduler', { cnr_id: 'comfy-core' }],
    ['HunyuanVideo15ImageToVideo', undefined],
    ['FaceDetailer', undefined],
  ])('takes no node for a partner because of half a name: %s', (className, meta) => {
    const node = { class_type: className, inputs: {}, ...(meta === undefined ? {} : { _meta: meta }) };
    expect(inventory({ 1: node }).partnerNodes).toEqual([]);
  });

  it('says which ComfyUI has the classes', () => {
    expect(inventory(graph([node(1, 'KSampler')])).comfyui).toMatchObject({
      version: '0.3.64',
      newerClasses: [],
    });
    const properties = { cnr_id: 'comfy-core', ver: '0.9.2' };
    const newer = graph([
      node(1, 'BrandNewNode', [], { properties }),
      node(2, 'KSampler', [], { properties: { cnr_id: 'comfy-core', ver: '0.12.0' } }),
    ]);
    expect(inventory(newer)).toMatchObject({
      comfyui: { version: '0.9.2', newerClasses: ['BrandNewNode'] },
      determinism: undefined,
      customClasses: [],
    });
  });

  it('estimates weights and GPU, and says by what rule', () => {
    const workflow = {
      1: { class_type: 'UNETLoader', inputs: { unet_name: 'flux1-dev.safetensors' } },
      2: {
        class_type: 'DualCLIPLoader',
        inputs: { clip_name1: 'clip_l.safetensors', clip_name2: 't5xxl_fp16.safetensors' },
      },
      3: { class_type: 'LoraLoader', inputs: { lora_name: 'mine.safetensors' } },
      4: { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: 'wan2.2_14B_fp8_scaled.safetensors' } },
    };
    const { weights, gpu } = inventory(workflow, { sizes: new Map([['mine.safetensors', 151_000_000]]) });
    expect(weights).toMatchObject([
      { gb: 23.8, rule: 'family' },
      { rule: 'family' },
      { gb: 9.52, rule: 'family' },
      { gb: 0.15, rule: 'file' },
      { gb: 14.7, rule: 'name' },
    ]);
    expect(gpu).toMatchObject({ needs: 'one', gpu: 'L40S', isRough: false });
    expect(gpu.rule).toContain('An estimate');
  });
});

describe('partners in the published templates', () => {
  it('are named in all that their index calls closed, and in none that it calls open', () => {
    const index = z
      .array(
        z.object({ templates: z.array(z.object({ name: z.string(), openSource: z.boolean().optional() })) }),
      )
      .parse(readTemplate('comfyui-workflow-templates-json@0.1.123', 'index.json'));
    const isOpen = new Map(
      index.flatMap(({ templates }) => templates).map(({ name, openSource }) => [`${name}.json`, openSource]),
    );
    const table = { open: 0, openWithPartner: 0, closed: 0, closedWithoutPartner: 0, needNoGpu: 0, rough: 0 };
    for (const [file, text] of templateTexts('comfyui-workflow-templates-json@0.1.123')) {
      const { partnerNodes, gpu } = inventory(JSON.parse(text));
      const asks = partnerNodes.length > 0;
      if (isOpen.get(file) === false) {
        table.closed += 1;
        if (!asks) table.closedWithoutPartner += 1;
      } else {
        table.open += 1;
        if (asks) table.openWithPartner += 1;
      }
      if (gpu.needs === 'none') table.needNoGpu += 1;
      if (gpu.isRough) table.rough += 1;
    }
    console.table(table);
    expect(table).toMatchObject({ open: 259, openWithPartner: 0, closed: 385, closedWithoutPartner: 0 });
    expect(table.rough).toBeLessThan(100);
  }, 30_000);
});

describe('estimated weights', () => {
  it('are near what the templates’ own index says', () => {
    const index = z
      .array(z.object({ templates: z.array(z.object({ name: z.string(), size: z.number().optional() })) }))
      .parse(readTemplate('comfyui-workflow-templates-json@0.1.123', 'index.json'));
    const sizes = new Map(
      index
        .flatMap(({ templates }) => templates)
        .map(({ name, size }) => [`${name}.json`, (size ?? 0) / 1e9]),
    );
    const ratios: number[] = [];
    for (const [file, text] of templateTexts('comfyui-workflow-templates-json@0.1.123')) {
      const { gpu, weights } = inventory(JSON.parse(text));
      const stated = sizes.get(file) ?? 0;
      if (weights.length > 0 && stated > 0.1) ratios.push(gpu.weightsGb / stated);
    }
    ratios.sort((left, right) => left - right);
    const share = (most: number) =>
      ratios.filter((ratio) => ratio <= most && ratio >= 1 / most).length / ratios.length;
    const table = {
      templates: ratios.length,
      median: ratios[ratios.length >> 1],
      within25percent: share(1.25),
      withinTwice: share(2),
    };
    console.table(table);
    expect(table.templates).toBeGreaterThan(200);
    expect(table.withinTwice).toBeGreaterThan(0.93);
  }, 30_000);
});
