import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { isApiWorkflow, MAXIMUM_NODES, parseApiWorkflow } from './api-workflow.ts';
import { MAXIMUM_DEPTH } from './json-value.ts';
import { WorkflowError } from './workflow-error.ts';

function refusal(value: unknown): WorkflowError {
  try {
    parseApiWorkflow(value);
  } catch (error) {
    if (WorkflowError.isInstance(error)) return error;
    throw error;
  }
  throw new Error('The workflow was accepted.');
}
const node = (inputs: unknown = {}) => ({ class_type: 'Any', inputs });
/** Node n links only to nodes before it. */
const acyclic = fc.array(fc.tuple(fc.nat(), fc.jsonValue()), { minLength: 1, maxLength: 30 }).map((entries) =>
  Object.fromEntries(
    entries.map(([pick, value], index) => [
      String(index + 1),
      node({
        value: JSON.stringify(value),
        ...(index === 0 ? {} : { from: [String((pick % index) + 1), 0] }),
      }),
    ]),
  ),
);

describe('parseApiWorkflow', () => {
  it('returns an acyclic workflow itself, unchanged', () => {
    fc.assert(
      fc.property(acyclic, (workflow) => {
        const before = JSON.stringify(workflow);
        expect(parseApiWorkflow(workflow)).toBe(workflow);
        expect(JSON.stringify(workflow)).toBe(before);
      }),
    );
  });

  it('ends with a WorkflowError or a workflow for any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        if (!isApiWorkflow(value)) expect(refusal(value).message).not.toBe('');
      }),
    );
  });

  it('finds every cycle that an added back link closes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(), (length, pick) => {
        const chain: Record<string, unknown> = {};
        for (let index = 0; index < length; index += 1)
          chain[`n${index}`] = node(index === 0 ? {} : { from: [`n${index - 1}`, 0] });
        expect(isApiWorkflow(chain)).toBe(true);
        chain['n0'] = node({ from: [`n${pick % length}`, 0] });
        expect(refusal(chain).message).toContain('depends on itself');
      }),
    );
  });

  it('survives the longest chain that is allowed', () => {
    const ids = Array.from({ length: MAXIMUM_NODES }, (_, index) => `n${index}`);
    // Its first node is its last link, so that one walk goes through all of them.
    const chain = Object.fromEntries(
      ids.map((id, index) => [id, node(ids[index + 1] === undefined ? {} : { from: [ids[index + 1], 0] })]),
    );
    expect(isApiWorkflow(chain)).toBe(true);
    expect(refusal({ ...chain, more: node() }).message).toContain('at most');
  });

  it('knows a workflow in UI format by its own code', () => {
    expect(refusal({ last_node_id: 1, nodes: [], links: [] })).toMatchObject({ code: 'workflow_format_ui' });
  });

  it('names node and input of a link to nowhere', () => {
    expect(refusal({ '3': node({ image: ['99', 0] }) })).toMatchObject({
      code: 'invalid_workflow',
      nodeId: '3',
      input: 'image',
    });
  });

  it.each([
    ['a negative output', { '1': node(), '2': node({ x: ['1', -1] }) }],
    ['a link to an inherited name', { '1': node({ x: ['toString', 0] }) }],
    ['NaN', { '1': node({ x: Number.NaN }) }],
    ['a polluting node id', JSON.parse('{"__proto__":{"class_type":"A","inputs":{}}}') as unknown],
    ['a polluting key inside a value', { '1': node({ x: JSON.parse('{"a":{"__proto__":1}}') as unknown }) }],
    ['a polluting input with an object', { '1': node(JSON.parse('{"__proto__":{"a":1}}')) }],
    ['a polluting input with a text', { '1': node(JSON.parse('{"__proto__":"a"}')) }],
    ['a polluting input with a link', { '1': node(), '2': node(JSON.parse('{"constructor":["1",0]}')) }],
    ['no class_type', { '1': { inputs: {} } }],
    ['no nodes', {}],
    ['a list', []],
    ['nothing', undefined],
  ])('refuses %s', (_case, value: unknown) => {
    expect(refusal(value).code).toBe('invalid_workflow');
  });

  it('refuses values nested too deep', () => {
    let value: unknown = 1;
    for (let depth = 0; depth <= MAXIMUM_DEPTH; depth += 1) value = { value };
    expect(refusal({ '1': node({ x: value }) }).message).toContain('nested deeper');
  });
});
