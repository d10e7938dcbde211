import { describe, expect, it } from 'vitest';

import {
  catalogue,
  graph,
  IN,
  node,
  nodeClass,
  OUT,
  subgraph,
  type Wire,
} from '../../test-support/ui-graph.ts';
import { MAXIMUM_NODES } from '../api-workflow.ts';
import type { Json } from '../json-value.ts';
import type { UiWorkflow } from '../ui-workflow.ts';
import { WorkflowError } from '../workflow-error.ts';
import {
  convertUiWorkflow,
  type ConvertOptions,
  MAXIMUM_SUBGRAPH_DEPTH,
  toApiWorkflow,
} from './ui-to-api.ts';

const objectInfo = catalogue(
  nodeClass('Load', { name: ['STRING', { default: 'a.png' }] }, ['IMAGE', 'MASK']),
  nodeClass('Blur', { image: ['IMAGE'], radius: ['INT', { default: 1, min: 0, max: 31, step: 1 }] }, [
    'IMAGE',
  ]),
  nodeClass('Mix', { first: ['IMAGE'], second: ['IMAGE'], mask: ['MASK'] }, ['IMAGE', 'MASK']),
  nodeClass(
    'Sample',
    {
      image: ['IMAGE'],
      seed: ['INT', { default: 0, control_after_generate: true }],
      cfg: ['FLOAT', { default: 8, min: 0, max: 100, step: 0.1, round: 0.01 }],
      sampler: [['euler', 'ddim'], {}],
    },
    ['IMAGE'],
  ),
  nodeClass('Prompt', { text: ['STRING', { multiline: true, dynamicPrompts: true }] }, ['TEXT']),
  nodeClass('SaveImage', { images: ['IMAGE'], filename_prefix: ['STRING', { default: 'out' }] }, [], {
    output_node: true,
  }),
  nodeClass('Any', { source: ['*'] }, ['*']),
);

function convert(workflow: UiWorkflow, options?: ConvertOptions) {
  return toApiWorkflow(workflow, objectInfo, options);
}
function inputs(workflow: UiWorkflow, id: string, options?: ConvertOptions) {
  return convert(workflow, options)[id]?.inputs;
}
function refusal(workflow: UiWorkflow): WorkflowError {
  try {
    convertUiWorkflow(workflow, objectInfo);
  } catch (error) {
    if (WorkflowError.isInstance(error)) return error;
    throw error;
  }
  throw new Error('The workflow was converted.');
}
/** Load → Blur → SaveImage, with the node in the middle changed. */
function chain(middle: Parameters<typeof node>[3]): UiWorkflow {
  return graph(
    [node(1, 'Load', ['cat.png']), node(2, 'Blur', [3], middle), node(3, 'SaveImage', ['out'])],
    [
      [1, 0, 2, 'image'],
      [2, 0, 3, 'images'],
    ],
  );
}

describe('a plain graph', () => {
  it('has links as [node, output], widget values by name, and titles', () => {
    expect(convert(chain({ title: 'Soften', properties: { cnr_id: 'pack', ver: 'v1.2.3' } }))).toEqual({
      '1': { class_type: 'Load', inputs: { name: 'cat.png' }, _meta: { title: 'Load' } },
      '2': {
        class_type: 'Blur',
        inputs: { image: ['1', 0], radius: 3 },
        _meta: { title: 'Soften', cnr_id: 'pack', ver: '1.2.3' },
      },
      '3': {
        class_type: 'SaveImage',
        inputs: { images: ['2', 0], filename_prefix: 'out' },
        _meta: { title: 'SaveImage' },
      },
    });
  });

  it('is returned itself when it is in API format already', () => {
    const api = convert(chain({}));
    expect(convert(api as never)).toBe(api);
  });

  it('leaves out control_after_generate and takes defaults for values that were not saved', () => {
    const workflow = graph(
      [node(1, 'Load', ['a']), node(2, 'Sample', [42, 'fixed', 7.5])],
      [[1, 0, 2, 'image']],
    );
    expect(inputs(workflow, '2')).toEqual({ image: ['1', 0], seed: 42, cfg: 7.5, sampler: 'euler' });
  });

  it('reads values that are saved by name', () => {
    const workflow = graph([node(2, 'Sample', [], { widgets_values: { cfg: 2, seed: 5 } })]);
    expect(inputs(workflow, '2')).toEqual({ seed: 5, cfg: 2, sampler: 'euler' });
  });

  it('wraps lists, which ComfyUI would take for links', () => {
    expect(inputs(graph([node(1, 'Load', [['a', 1]])]), '1')).toEqual({ name: { __value__: ['a', 1] } });
  });

  it('reads links of litegraph schema 1', () => {
    const { nodes } = chain({});
    const links = [
      { id: 0, origin_id: 1, origin_slot: 0, target_id: 2, target_slot: 0, type: 'IMAGE' },
      { id: 1, origin_id: 2, origin_slot: 0, target_id: 3, target_slot: 0, type: 'IMAGE' },
    ];
    const workflow: UiWorkflow = { version: 1, state: { lastNodeId: 3 }, nodes, links };
    expect(convert(workflow)).toEqual(convert(chain({})));
  });

  it('treats links that end nowhere as not connected', () => {
    const workflow = graph([node(2, 'Blur', [3], { inputs: [{ name: 'image', type: 'IMAGE', link: 77 }] })]);
    expect(inputs(workflow, '2')).toEqual({ radius: 3 });
    const lost = graph([node(2, 'Blur', [3])], [[9, 0, 2, 'image']]);
    expect(inputs(lost, '2')).toEqual({ radius: 3 });
  });

  it('links a widget that was converted to an input', () => {
    const number = nodeClass('Number', { value: ['INT', { default: 4 }] }, ['INT']);
    const workflow = graph(
      [
        node(1, 'Number', [9]),
        node(2, 'Blur', [3], { inputs: [{ name: 'radius', type: 'INT', widget: { name: 'radius' } }] }),
      ],
      [[1, 0, 2, 'radius']],
    );
    const converted = convertUiWorkflow(workflow, { ...objectInfo, ...catalogue(number) });
    expect(converted['2']?.inputs).toEqual({ radius: ['1', 0] });
  });

  it('drops the slot of a widget that its class no longer has', () => {
    const workflow = graph(
      [
        node(1, 'Load'),
        node(2, 'Blur', [3], { inputs: [{ name: 'gone', type: 'INT', widget: { name: 'gone' } }] }),
      ],
      [[1, 0, 2, 'gone']],
    );
    expect(inputs(workflow, '2')).toEqual({ radius: 3 });
  });
});

describe('mute and bypass', () => {
  it('takes a muted node out, and what it was linked to is not connected', () => {
    const converted = convert(chain({ mode: 2 }));
    expect(Object.keys(converted)).toEqual(['1', '3']);
    expect(converted['3']?.inputs).toEqual({ filename_prefix: 'out' });
  });

  it('wires a bypassed node through by type', () => {
    expect(inputs(chain({ mode: 4 }), '3')).toMatchObject({ images: ['1', 0] });
  });

  it('prefers the input in the same place, and the type of the end of the chain', () => {
    const wires: Wire[] = [
      [1, 0, 4, 'first'],
      [2, 0, 4, 'second'],
      [1, 1, 4, 'mask'],
      [4, 1, 5, 'mask'],
      [4, 0, 5, 'second'],
    ];
    const workflow = graph(
      [node(1, 'Load'), node(2, 'Load'), node(4, 'Mix', [], { mode: 4 }), node(5, 'Mix')],
      wires,
    );
    expect(inputs(workflow, '5')).toEqual({ mask: ['1', 1], second: ['1', 0] });
  });

  it('bypasses nodes of unknown classes, too', () => {
    const unknown = node(2, 'Unknown', [], {
      mode: 4,
      inputs: [{ name: 'x', type: 'IMAGE' }],
      outputs: [{ name: 'y', type: 'IMAGE' }],
    });
    const workflow = graph(
      [node(1, 'Load'), unknown, node(3, 'SaveImage')],
      [
        [1, 0, 2, 'x'],
        [2, 0, 3, 'images'],
      ],
    );
    expect(inputs(workflow, '3')).toMatchObject({ images: ['1', 0] });
  });
});

describe('what the page mends or ignores', () => {
  it('keeps the own value of a widget whose source is muted', () => {
    const classes = { ...objectInfo, ...catalogue(nodeClass('Number', { value: ['INT', {}] }, ['INT'])) };
    const radius = { inputs: [{ name: 'radius', type: 'INT', widget: { name: 'radius' } }] };
    const workflow = graph(
      [node(1, 'Number', [9], { mode: 2 }), node(2, 'Blur', [3], radius)],
      [[1, 0, 2, 'radius']],
    );
    expect(convertUiWorkflow(workflow, classes)).toEqual({
      '2': expect.objectContaining({ inputs: { radius: 3 } }) as unknown,
    });
  });

  it('does not follow a link that goes to another node', () => {
    const workflow = graph([node(1, 'Load'), node(2, 'Blur'), node(3, 'Blur')], [[1, 0, 2, 'image']]);
    const [load, first, second] = workflow.nodes;
    const nodes = [load!, first!, { ...second!, inputs: [{ name: 'image', type: 'IMAGE', link: 0 }] }];
    expect(inputs({ ...workflow, nodes }, '2')).toMatchObject({ image: ['1', 0] });
    expect(inputs({ ...workflow, nodes }, '3')).toEqual({ radius: 1 });
  });

  it('takes the first choice for null, and old names of samplers', () => {
    expect(inputs(graph([node(2, 'Sample', [1, 'fixed', 2, null])]), '2')).toMatchObject({
      sampler: 'euler',
    });
    const sampler = catalogue(nodeClass('KSampler', { sampler_name: [['euler', 'ddim']] }));
    const old = convertUiWorkflow(graph([node(1, 'KSampler', ['sample_ddim'])]), sampler);
    expect(old['1']?.inputs).toEqual({ sampler_name: 'ddim' });
  });

  it('sends no previews and buttons, and curves and lists so that ComfyUI takes them for values', () => {
    const classes = catalogue(
      nodeClass('View', {
        upload: ['IMAGEUPLOAD'],
        curve: ['CURVE'],
        tags: ['COMBO', { multi_select: {}, options: ['a'] }],
      }),
    );
    expect(
      convertUiWorkflow(graph([node(1, 'View', ['image', [[0, 1]], ['a']])]), classes)['1']?.inputs,
    ).toEqual({
      curve: { __type__: 'CURVE', __value__: [[0, 1]] },
      tags: { __value__: ['a'] },
    });
  });

  it('passes over values of inputs that have become sockets', () => {
    const classes = catalogue(
      nodeClass('Forced', {
        first: ['INT', { forceInput: true }],
        second: ['INT', {}],
        third: ['STRING', {}],
      }),
    );
    const forced = (values: Json[]) =>
      convertUiWorkflow(graph([node(1, 'Forced', values)]), classes)['1']?.inputs;
    expect(forced([7, 8, 'x'])).toEqual({ second: 8, third: 'x' });
    expect(forced([8, 'x'])).toEqual({ second: 8, third: 'x' });
  });

  it('keeps the identity of packages only where it is one', () => {
    const meta = (properties: Record<string, Json>) =>
      convert(graph([node(1, 'Load', [], { properties })]))['1']?._meta;
    expect(meta({ aux_id: 'kijai/ComfyUI-KJNodes', ver: '1a2b3c4d' })).toEqual({
      title: 'Load',
      aux_id: 'kijai/ComfyUI-KJNodes',
      ver: '1a2b3c4d',
    });
    expect(meta({ cnr_id: '../x', aux_id: 'a/b/c', ver: 'latest' })).toEqual({ title: 'Load' });
  });
});

describe('nodes of the page only', () => {
  it('follows reroutes and leaves notes out', () => {
    const reroute = (id: number) => node(id, 'Reroute', [], { inputs: [{ name: '', type: '*' }] });
    const workflow = graph(
      [
        node(1, 'Load'),
        reroute(2),
        reroute(3),
        node(4, 'SaveImage'),
        node(5, 'Note', ['hi']),
        node(6, 'MarkdownNote'),
      ],
      [
        [1, 0, 2, ''],
        [2, 0, 3, ''],
        [3, 0, 4, 'images'],
      ],
    );
    expect(Object.keys(convert(workflow))).toEqual(['1', '4']);
    expect(inputs(workflow, '4')).toMatchObject({ images: ['1', 0] });
  });

  it('copies the value of a PrimitiveNode, aligned to the step of the widget', () => {
    const primitive = (value: Json, type: string) =>
      node(1, 'PrimitiveNode', [value, 'fixed'], { outputs: [{ name: type, type }] });
    const target = (name: string) =>
      node(2, 'Sample', [1, 'fixed', 2], { inputs: [{ name, type: '*', widget: { name } }] });
    expect(inputs(graph([primitive(7.6, 'INT'), target('seed')], [[1, 0, 2, 'seed']]), '2')).toMatchObject({
      seed: 8,
    });
    expect(
      inputs(graph([primitive(3.14159, 'FLOAT'), target('cfg')], [[1, 0, 2, 'cfg']]), '2'),
    ).toMatchObject({ cfg: 3.1 });
    expect(inputs(graph([primitive('x', 'STRING'), target('cfg')], [[1, 0, 2, 'cfg']]), '2')).toMatchObject({
      cfg: 2,
    });
  });

  it('says which nodes are linked in a circle', () => {
    const reroute = (id: number) => node(id, 'Reroute', [], { inputs: [{ name: '', type: '*' }] });
    const workflow = graph(
      [reroute(1), reroute(2), node(3, 'SaveImage')],
      [
        [1, 0, 2, ''],
        [2, 0, 1, ''],
        [2, 0, 3, 'images'],
      ],
    );
    expect(refusal(workflow)).toMatchObject({
      code: 'invalid_workflow',
      message: expect.stringContaining('circle') as string,
    });
  });
});

describe('subgraphs', () => {
  const soften = subgraph(
    'soften',
    [
      node(1, 'Blur', [3], { inputs: [{ name: 'radius', type: 'INT', widget: { name: 'radius' } }] }),
      node(2, 'Blur', [5]),
    ],
    [
      [IN, 0, 1, 'image'],
      [IN, 1, 1, 'radius'],
      [1, 0, 2, 'image'],
      [2, 0, OUT, 'IMAGE'],
    ],
    {
      inputs: [
        ['image', 'IMAGE'],
        ['radius', 'INT'],
      ],
      outputs: [['IMAGE', 'IMAGE']],
    },
  );
  const around = (host: Parameters<typeof node>[3], values: Json[] = []) =>
    graph(
      [node(10, 'Load'), node(11, 'soften', values, host), node(12, 'SaveImage', ['out'])],
      [
        [10, 0, 11, 'image'],
        [11, 0, 12, 'images'],
      ],
      [soften],
    );

  it('are flattened to ids outer:inner, linked through both ends', () => {
    expect(convert(around({}))).toMatchObject({
      '11:1': { inputs: { image: ['10', 0], radius: 3 } },
      '11:2': { inputs: { image: ['11:1', 0], radius: 5 } },
      '12': { inputs: { images: ['11:2', 0] } },
    });
  });

  it('take the promoted values of the instance', () => {
    expect(inputs(around({}, [17]), '11:1')).toMatchObject({ radius: 17 });
  });

  it('take values promoted the older way, by proxyWidgets', () => {
    const proxied = around(
      {
        properties: {
          proxyWidgets: [
            ['2', 'radius'],
            ['-1', 'radius'],
          ],
        },
      },
      [21, 22],
    );
    expect(inputs(proxied, '11:2')).toMatchObject({ radius: 21 });
    expect(inputs(proxied, '11:1')).toMatchObject({ radius: 22 });
  });

  it('are skipped when muted and passed through when bypassed', () => {
    expect(Object.keys(convert(around({ mode: 2 })))).toEqual(['10', '12']);
    expect(convert(around({ mode: 4 }))).toMatchObject({ '12': { inputs: { images: ['10', 0] } } });
    expect(Object.keys(convert(around({ mode: 4 })))).toEqual(['10', '12']);
  });

  it('nest, and pass values through every level', () => {
    const outer = subgraph(
      'outer',
      [
        node(5, 'soften', [8], {
          inputs: [
            { name: 'image', type: 'IMAGE' },
            { name: 'radius', type: 'INT' },
          ],
        }),
      ],
      [
        [IN, 0, 5, 'image'],
        [IN, 1, 5, 'radius'],
        [5, 0, OUT, 'IMAGE'],
      ],
      {
        inputs: [
          ['image', 'IMAGE'],
          ['size', 'INT'],
        ],
        outputs: [['IMAGE', 'IMAGE']],
      },
    );
    const nested = (values: Json[]) =>
      graph(
        [node(10, 'Load'), node(11, 'outer', values), node(12, 'SaveImage')],
        [
          [10, 0, 11, 'image'],
          [11, 0, 12, 'images'],
        ],
        [soften, outer],
      );
    expect(inputs(nested([]), '11:5:1')).toEqual({ image: ['10', 0], radius: 8 });
    expect(inputs(nested([30]), '11:5:1')).toMatchObject({ radius: 30 });
    expect(inputs(nested([30]), '12')).toMatchObject({ images: ['11:5:2', 0] });
  });

  it('get new numbers where two definitions use the same', () => {
    const twin = { ...soften, id: 'twin' };
    const workflow = graph([node(10, 'soften'), node(11, 'twin')], [], [soften, twin]);
    expect(Object.keys(convert(workflow)).sort()).toEqual(['10:1', '10:2', '11:12', '11:13']);
    expect(inputs(workflow, '11:13')).toMatchObject({ image: ['11:12', 0] });
    const proxied = node(11, 'twin', [29], { properties: { proxyWidgets: [['2', 'radius']] } });
    expect(inputs(graph([node(10, 'soften'), proxied], [], [soften, twin]), '11:13')).toMatchObject({
      radius: 29,
    });
  });

  it('are those of the first definition where two have one id', () => {
    const other = { ...soften, nodes: [node(1, 'Load')] };
    expect(Object.keys(convert(graph([node(10, 'soften')], [], [soften, other])))).toEqual(['10:1', '10:2']);
  });

  it('that contain themselves are refused', () => {
    const own = subgraph('own', [node(1, 'own')], [], {});
    expect(refusal(graph([node(1, 'own')], [], [own])).message).toContain('contains itself');
  });

  it('that are nested too deep, or grow too large, are refused in time', () => {
    const deep = Array.from({ length: MAXIMUM_SUBGRAPH_DEPTH + 2 }, (_, level) =>
      subgraph(`s${level}`, [node(level + 1, level === 0 ? 'Load' : `s${level - 1}`)], [], {}),
    );
    expect(refusal(graph([node(1, deep.at(-1)!.id)], [], deep)).message).toContain('deeper');
    const doubling = Array.from({ length: 40 }, (_, level) => {
      const type = level === 0 ? 'Load' : `d${level - 1}`;
      return subgraph(`d${level}`, [node(2 * level + 1, type), node(2 * level + 2, type)], [], {});
    });
    expect(refusal(graph([node(1, 'd39')], [], doubling)).message).toContain(String(MAXIMUM_NODES));
  });
});

describe('dynamic inputs of newer ComfyUI', () => {
  const classes = catalogue(
    nodeClass('Resize', {
      mode: [
        'COMFY_DYNAMICCOMBO_V3',
        {
          options: [
            { key: 'scale', inputs: { required: { factor: ['FLOAT', { default: 2 }] } } },
            {
              key: 'size',
              inputs: { required: { width: ['INT', { default: 512 }], height: ['INT', { default: 512 }] } },
            },
          ],
        },
      ],
      crop: ['BOOLEAN', { default: false }],
    }),
  );
  const resized = (values: Json[]) =>
    convertUiWorkflow(graph([node(1, 'Resize', values)]), classes)['1']?.inputs;

  it('have the inputs of the chosen option only', () => {
    expect(resized(['size', 640, 480, true])).toEqual({
      mode: 'size',
      'mode.width': 640,
      'mode.height': 480,
      crop: true,
    });
    expect(resized(['scale', 1.5, true])).toEqual({ mode: 'scale', 'mode.factor': 1.5, crop: true });
    expect(resized([])).toEqual({ mode: 'scale', 'mode.factor': 2, crop: false });
  });
});

describe('texts', () => {
  const prompt = (text: string, options?: ConvertOptions) =>
    inputs(graph([node(1, 'Prompt', [text])]), '1', options)?.['text'];

  it('lose comments and take one of each choice, the first unless told otherwise', () => {
    expect(prompt('a {red|blue} cat // old\n/* note */now')).toBe('a red cat \nnow');
    expect(prompt('a {red|{dark|light} blue}', { choose: (count) => count - 1 })).toBe('a light blue');
    expect(prompt('\\{a\\|b\\} \\n {open|end')).toBe('{a|b} \\n open');
  });

  it('name output files by widgets and dates', () => {
    const named = (prefix: string, options?: ConvertOptions) =>
      inputs(graph([node(1, 'Load', ['a/b.png']), node(2, 'SaveImage', [prefix])]), '2', options)?.[
        'filename_prefix'
      ];
    const now = new Date(2026, 0, 2, 3, 4, 5);
    expect(named('%Load.name%_%date:yyyy-MM-dd_hhmmss%', { now })).toBe('a_b.png_2026-01-02_030405');
    expect(named('%Nobody.name%_%width%_%date:yy%')).toBe('%Nobody.name%_%width%_%date:yy%');
  });
});

describe('what cannot be converted', () => {
  it('is refused with every class that would run and is not known, names of Object.prototype included', () => {
    const workflow = graph([
      node(1, 'Zeta'),
      node(2, 'constructor'),
      node(3, 'Zeta'),
      node(4, 'Muted', [], { mode: 2 }),
    ]);
    expect(refusal(workflow)).toMatchObject({
      code: 'unknown_class',
      classes: ['Zeta', 'constructor'],
      nodeId: '1',
    });
  });
});

describe('size', () => {
  /** Generous for a loaded machine; a quadratic step would take minutes at this size. */
  const LIMIT_MS = 3_000;

  it('of 20,000 reroutes in a row, each also used, takes linear time', () => {
    const length = MAXIMUM_NODES / 2 - 1;
    const nodes = [node(1, 'Load')];
    const wires: Wire[] = [];
    const reroutes = Array.from({ length }, (_, index) => ({
      ...node(index + 2, 'Reroute', []),
      inputs: [{ name: '', type: '*', link: index }],
    }));
    const users = Array.from({ length }, (_, index) => ({
      ...node(index + 2 + length, 'Any', []),
      inputs: [{ name: 'source', type: '*', link: index + length }],
    }));
    const links = [
      ...reroutes.map(({ id }, index) => [index, index + 1, 0, id, 0] as const),
      ...users.map(({ id }, index) => [index + length, index + 2, 0, id, 0] as const),
    ];
    const workflow: UiWorkflow = { ...graph(nodes, wires), nodes: [...nodes, ...reroutes, ...users], links };
    const started = performance.now();
    const converted = convert(workflow);
    expect(converted[String(2 * length + 1)]?.inputs).toEqual({ source: ['1', 0] });
    expect(performance.now() - started).toBeLessThan(LIMIT_MS);
  });
});
