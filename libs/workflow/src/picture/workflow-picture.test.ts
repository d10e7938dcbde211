import { describe, expect, it } from 'vitest';

import { templateTexts } from '../../test-support/template-packages.ts';
import { graph, node } from '../../test-support/ui-graph.ts';
import type { ApiWorkflow } from '../api-workflow.ts';
import { toApiWorkflow } from '../convert/ui-to-api.ts';
import { coreObjectInfo } from '../node/core-catalogue.ts';
import { layout } from './layout.ts';
import { pictureGraph } from './picture-graph.ts';
import { workflowPicture } from './workflow-picture.ts';

const core = coreObjectInfo();

/** Names of the elements, after a check that the markup is well-formed and holds nothing that runs or is fetched. */
function elementsOf(svg: string): string[] {
  const open: string[] = [];
  const names: string[] = [];
  for (const [tag, end, name = '', attributes = '', alone] of svg.matchAll(
    /<(\/?)([\w-]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/g,
  )) {
    if (end === '/') expect(open.pop(), tag).toBe(name);
    else {
      names.push(name);
      expect(attributes.replace(/"[^"]*"/g, '""')).not.toMatch(/\s(?:on\w+|href|xlink:href|src)=/);
      if (alone !== '/') open.push(name);
    }
  }
  expect(open).toEqual([]);
  const rest = svg.replace(/<\/?[\w-]+(?:\s+[\w:-]+="[^"<]*")*\s*\/?>/g, '');
  expect(rest).not.toMatch(/[<>]/);
  expect(rest).not.toMatch(/&(?!(?:amp|lt|gt|quot|#39);)/);
  expect(new Set(names)).not.toContain('script');
  return names;
}

describe('a picture of a workflow', () => {
  const evil = `"><script>alert(1)</script><a href='javascript:x'>&\u0000\u001b`;

  it('shows nodes, links, values and the inputs of the endpoint', () => {
    const workflow: ApiWorkflow = {
      1: { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: 'base.safetensors' } },
      2: {
        class_type: 'CLIPTextEncode',
        inputs: { text: 'a cat', clip: ['1', 1] },
        _meta: { title: 'Prompt' },
      },
    };
    const svg = workflowPicture(workflow, core, {
      inputs: { what: { node: '2', field: 'text' } },
      title: 'Cats',
    });
    const names = elementsOf(svg);
    expect(names.filter((name) => name === 'path')).toHaveLength(1);
    expect(svg).toContain('<title>Cats</title>');
    for (const text of [
      'Prompt',
      'CLIPTextEncode',
      'what: a cat',
      'ckpt_name: base.safetensors',
      'Load Checkpoint',
    ])
      expect(svg).toContain(`>${text}</text>`);
    expect(svg).toContain('@media (prefers-color-scheme:dark)');
    expect(svg.match(/class="node runs marked"/g)).toHaveLength(1);
  });

  it('escapes whatever a file says', () => {
    const hostile = graph([
      node(1, evil, [evil], { title: evil, outputs: [{ name: evil, type: evil }] }),
      node(2, 'MarkdownNote', [evil]),
      node(3, 'Any', [evil], { inputs: [{ name: evil, type: evil }] }),
    ]);
    const groups = [{ title: evil, bounding: [0, 0, 400, 400] }];
    const placed = {
      ...hostile,
      nodes: hostile.nodes.map((one, index) => ({ ...one, pos: [index * 400, 0], size: [300, 100] })),
      groups,
    };
    const api = { 1: { class_type: evil, inputs: { [evil]: evil }, _meta: { title: evil } } };
    for (const svg of [
      workflowPicture(placed, core, { title: evil }),
      workflowPicture(api, core, { inputs: { [evil]: { node: '1', field: evil } } }),
    ]) {
      elementsOf(svg);
      expect(svg).toContain('&lt;script&gt;');
      expect(svg).not.toMatch(/[\u0000-\u0008\u000b\u001b]/);
    }
  });

  it('is where the page had it, with its groups, unless nodes lie on each other', () => {
    const at = (id: number, x: number, y: number) =>
      node(id, 'LoadImage', ['a.png'], { pos: [x, y], size: { 0: 200, 1: 90 } } as object);
    const workflow = {
      ...graph([at(1, 0, 0), at(2, 500, 300)]),
      groups: [{ title: 'Input', bounding: [-20, -60, 260, 200] }],
    };
    const shown = pictureGraph(workflow, core, {});
    expect(layout(shown).boxes.get('2')).toMatchObject({ x: 500, width: 200 });
    expect(workflowPicture(workflow, core)).toContain('>Input</text>');
    const stacked = { ...workflow, ...graph([at(1, 0, 0), at(2, 0, 0)]) };
    const boxes = [...layout(pictureGraph(stacked, core, {})).boxes.values()];
    expect(overlapping(boxes)).toEqual([]);
    expect(workflowPicture(stacked, core)).not.toContain('>Input</text>');
  });

  it('marks on a subgraph what is an input within it, and shows what is muted', () => {
    const definition = { id: 'inner-id', name: 'Sampling', nodes: [], links: [], inputs: [], outputs: [] };
    const workflow = graph(
      [node(57, 'inner-id', []), node(3, 'LoadImage', ['x.png'], { mode: 2 })],
      [],
      [definition],
    );
    const svg = workflowPicture(workflow, core, { inputs: { seed: { node: '57:3', field: 'seed' } } });
    expect(svg).toContain('>Sampling</text>');
    expect(svg).toContain('>seed</text>');
    expect(svg).toContain('class="node muted"');
  });

  it('puts each node right of what it depends on, none on another, even in a circle', () => {
    const chain = Object.fromEntries(
      Array.from({ length: 60 }, (_, index) => [
        String(index + 1),
        {
          class_type: 'ImageInvert',
          inputs:
            index < 3 ? {} : { image: [String(index - 2), 0], other: [String(Math.ceil(index / 2)), 0] },
        },
      ]),
    ) as ApiWorkflow;
    const shown = pictureGraph(chain, core, {});
    const { boxes } = layout(shown);
    for (const { from, to } of shown.links)
      expect(boxes.get(from)?.x ?? NaN, `${from} to ${to}`).toBeLessThan(boxes.get(to)?.x ?? NaN);
    expect(overlapping([...boxes.values()])).toEqual([]);
    // Texts keep their size: 60 nodes are legible.
    expect(workflowPicture(chain, core)).toMatch(
      / width="([\d.]+)" height="([\d.]+)" viewBox="[-\d.]+ [-\d.]+ \1 \2"/,
    );
    const circle = graph(
      [node(1, 'Reroute'), node(2, 'Reroute')],
      [
        [1, 0, 2, 'a'],
        [2, 0, 1, 'b'],
      ],
    );
    elementsOf(workflowPicture(circle, core));
  });

  it('is drawn of every template, in both formats', () => {
    let drawn = 0;
    const started = performance.now();
    for (const [file, text] of templateTexts('comfyui-workflow-templates-json@0.1.123')) {
      const value: unknown = JSON.parse(text);
      const pictures = [workflowPicture(value, core), ...(drawn % 10 === 0 ? apiPicture(value) : [])];
      for (const svg of drawn % 10 === 0 ? pictures : []) elementsOf(svg);
      expect(pictures[0], file).not.toMatch(/NaN|Infinity|undefined/);
      drawn += 1;
    }
    expect(drawn).toBe(644);
    expect(performance.now() - started).toBeLessThan(20_000);
  }, 30_000);
});

function apiPicture(value: unknown): string[] {
  try {
    return [workflowPicture(toApiWorkflow(value, core), core)];
  } catch {
    return [];
  }
}

function overlapping(boxes: readonly { x: number; y: number; width: number; height: number }[]): string[] {
  return boxes.flatMap((a, index) =>
    boxes
      .slice(0, index)
      .flatMap((b) =>
        a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
          ? [`${a.x},${a.y}`]
          : [],
      ),
  );
}
