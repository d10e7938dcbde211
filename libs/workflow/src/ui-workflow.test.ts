import { describe, expect, it } from 'vitest';

import { MAXIMUM_NODES } from './api-workflow.ts';
import { parseUiWorkflow } from './ui-workflow.ts';
import { WorkflowError } from './workflow-error.ts';

const node = {
  id: 7,
  type: 'Blur',
  mode: 0,
  inputs: [{ name: 'image', type: 'IMAGE', link: 1 }],
  widgets_values: [3],
};
const workflow = { version: 0.4, nodes: [node], links: [[1, 5, 0, 7, 0, 'IMAGE']] };

function refusal(value: unknown): WorkflowError {
  try {
    parseUiWorkflow(value);
  } catch (error) {
    if (WorkflowError.isInstance(error)) return error;
    throw error;
  }
  throw new Error('The workflow was accepted.');
}
const withNode = (change: object) => ({ ...workflow, nodes: [{ ...node, ...change }] });
const withSubgraph = (change: object) => ({
  ...workflow,
  definitions: { subgraphs: [{ id: 's', nodes: [], links: [], inputs: [], outputs: [], ...change }] },
});

describe('parseUiWorkflow', () => {
  it('returns the workflow itself, with links that end nowhere', () => {
    expect(parseUiWorkflow(workflow)).toBe(workflow);
    expect(parseUiWorkflow({ nodes: [], links: null, state: { lastNodeId: 3 } })).toBeDefined();
  });

  it.each([
    ['no object', [], 'A workflow is an object, not a list.'],
    ['API format', { '1': { class_type: 'A', inputs: {} } }, 'it needs a list "nodes"'],
    ['a node that is no object', { ...workflow, nodes: [3] }, 'A node must be an object, not a number.'],
    ['a node without id', withNode({ id: null }), 'a number or a text was expected, not null'],
    [
      'a node without type',
      withNode({ type: 3 }),
      'Node 7: "type" must be the name of its class, not a number.',
    ],
    [
      'two nodes with one id',
      { ...workflow, nodes: [node, { ...node, id: '7' }] },
      'Two nodes have the id 7.',
    ],
    ['a mode in words', withNode({ mode: 'muted' }), 'Node 7 (Blur): "mode" must be a whole number'],
    ['inputs by name', withNode({ inputs: {} }), 'Node 7 (Blur): "inputs" must be a list, not a object'],
    ['an input without name', withNode({ inputs: [{}] }), 'a text was expected, not nothing'],
    [
      'a link that is no number',
      withNode({ inputs: [{ name: 'image', link: 'x' }] }),
      'Node 7 (Blur), input image: "link" must be the id of a link, a number, or null.',
    ],
    [
      'a widget without name',
      withNode({ inputs: [{ name: 'a', widget: {} }] }),
      'input a: "widget" must be an object',
    ],
    [
      'values in a text',
      withNode({ widgets_values: 'x' }),
      '"widgets_values" must be a list or an object, not a string',
    ],
    [
      'a link that is a text',
      { ...workflow, links: ['x'] },
      'A link must be a list or an object, not a string.',
    ],
    [
      'a link without slots',
      { ...workflow, links: [[1, 5, null, 7, 0]] },
      'Link 1 must name its slots by whole numbers.',
    ],
    ['a link without id', { ...workflow, links: [{ origin_id: 1 }] }, 'A link has no id'],
    [
      'definitions in a list',
      { ...workflow, definitions: [] },
      '"definitions" must be an object, not a list.',
    ],
    ['a subgraph without id', withSubgraph({ id: 4 }), 'has no id: a text was expected, not a number'],
    ['a subgraph without nodes', withSubgraph({ nodes: undefined }), '"nodes" of subgraph s must be a list'],
    [
      'a broken node of a subgraph',
      withSubgraph({ nodes: [{ id: 1 }], name: 'Soften' }),
      'of subgraph "Soften" (s)',
    ],
    [
      'subgraph inputs in words',
      withSubgraph({ inputs: ['x'] }),
      'each of its inputs must be an object with a name',
    ],
    [
      'a last id in words',
      { ...workflow, last_node_id: 'x' },
      '"last_node_id" must be a whole number, not a string',
    ],
  ])('says what is wrong with %s', (_, value, message) => {
    expect(refusal(value).message).toContain(message);
    expect(refusal(value).code).toBe('invalid_workflow');
  });

  it('names the node and the input', () => {
    expect(refusal(withNode({ inputs: [{ name: 'image', link: 'x' }] }))).toMatchObject({
      nodeId: '7',
      input: 'image',
    });
  });

  it.each(['__proto__', 'constructor', 'prototype'])('refuses %s wherever it could become a key', (name) => {
    expect(refusal(withNode({ id: name })).message).toContain('not allowed');
    expect(refusal(withNode({ inputs: [{ name }] })).message).toContain('not allowed');
    expect(refusal(withNode({ inputs: [{ name: 'a', widget: { name } }] })).message).toContain(name);
    expect(refusal(withSubgraph({ inputs: [{ name }] })).message).toContain('not allowed');
    const values: unknown = JSON.parse(`{"a": [{"${name}": 1}]}`);
    expect(refusal(withNode({ widgets_values: values })).message).toContain('not allowed');
    expect(refusal(withNode({ widgets_values: [1, values] })).message).toContain('not allowed');
  });

  it('refuses more nodes than are accepted, over all graphs together', () => {
    const half = Array.from({ length: MAXIMUM_NODES / 2 + 1 }, (_, id) => ({ id, type: 'A' }));
    expect(refusal({ ...withSubgraph({ nodes: half }), nodes: half }).message).toContain(
      String(MAXIMUM_NODES),
    );
  });
});
