import { describe, expect, it } from 'vitest';

import { catalogue, nodeClass } from '../test-support/ui-graph.ts';
import type { ApiWorkflow } from './api-workflow.ts';
import { ancestorsOf, deadNodes, findCycle, linksOf, outputNodes } from './graph-queries.ts';
import type { Json } from './json-value.ts';

const objectInfo = catalogue(nodeClass('Make', {}), nodeClass('Save', {}, [], { output_node: true }));
const node = (class_type: string, inputs: Record<string, Json> = {}) => ({ class_type, inputs });
const workflow: ApiWorkflow = {
  '1': node('Make'),
  '2': node('Make', { a: ['1', 0], b: 3, c: ['x', 'y'] }),
  '3': node('Save', { images: ['2', 0], mask: ['2', 1] }),
  '4': node('Make', { a: ['1', 0] }),
  '5': node('Unknown', { a: ['4', 0] }),
};

describe('graph queries', () => {
  it('find outputs, what they depend on, and what nothing needs', () => {
    expect(outputNodes(workflow, objectInfo)).toEqual(['3']);
    expect([...ancestorsOf(workflow, ['3', 'none'])].sort()).toEqual(['1', '2', '3']);
    expect(deadNodes(workflow, objectInfo)).toEqual(['4', '5']);
    expect(linksOf(workflow['3']!)).toEqual([
      ['images', ['2', 0]],
      ['mask', ['2', 1]],
    ]);
  });

  it('find a circle and its nodes in order', () => {
    expect(findCycle(workflow)).toBeUndefined();
    const circle = { ...workflow, '1': node('Make', { a: ['3', 0] }) };
    expect(findCycle(circle)).toEqual(['1', '3', '2']);
    expect(findCycle({ '1': node('Make', { a: ['1', 0] }) })).toEqual(['1']);
  });

  it('take ids that every object answers to for unknown', () => {
    expect(ancestorsOf(workflow, ['constructor', 'toString'])).toEqual(new Set());
    expect(findCycle({ '1': node('Make', { a: ['toString', 0] }) })).toBeUndefined();
  });
});
