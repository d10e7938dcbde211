/** Inference against workflows that a person has labelled: fixtures/input-labels.json. */
import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';
import { z } from 'zod';

import { readTemplate } from '../../test-support/template-packages.ts';
import { toApiWorkflow } from '../convert/ui-to-api.ts';
import { parseEndpointConfig } from '../endpoint-config.ts';
import { coreObjectInfo } from '../node/core-catalogue.ts';
import { endpointInputs, inferInputs } from './infer-inputs.ts';
import { endpointOutputs, inferOutputs } from './infer-outputs.ts';

const labelled = z.record(
  z.string(),
  z.array(z.object({ node: z.string(), field: z.string(), kind: z.string() })),
);
const SETS = ['templates', 'heldOut', 'secondHeldOut', 'thirdHeldOut', 'fourthHeldOut'] as const;
const labels = z
  .record(z.enum(SETS), labelled)
  .and(z.object({ package: z.string() }))
  .parse(JSON.parse(readFileSync(new URL('../../fixtures/input-labels.json', import.meta.url), 'utf8')));

interface Score {
  right: number;
  found: number;
  labelled: number;
}

function workflowOf(template: string) {
  const content = readTemplate('comfyui-workflow-templates-json@0.1.123', `${template}.json`);
  if (content === undefined) throw new Error(`${template} is not in .venv: run npm test once, or uv sync.`);
  return toApiWorkflow(content, coreObjectInfo());
}

function score(set: z.infer<typeof labelled>): { scores: Map<string, Score>; mistakes: string[] } {
  const scores = new Map<string, Score>();
  const mistakes: string[] = [];
  const of = (kind: string) => {
    const known = scores.get(kind) ?? { right: 0, found: 0, labelled: 0 };
    scores.set(kind, known);
    return known;
  };
  for (const [template, wanted] of Object.entries(set)) {
    const expected = new Set(wanted.map(({ node, field, kind }) => `${kind} ${node}.${field}`));
    const found = new Set(
      inferInputs(workflowOf(template), coreObjectInfo()).flatMap(({ kind, input }) =>
        [input, ...(input.also ?? [])].map(({ node, field }) => `${kind} ${node}.${field}`),
      ),
    );
    for (const one of expected) {
      of(kindOf(one)).labelled += 1;
      if (!found.has(one)) mistakes.push(`${template}: missed ${one}`);
    }
    for (const one of found) {
      of(kindOf(one)).found += 1;
      if (expected.has(one)) of(kindOf(one)).right += 1;
      else mistakes.push(`${template}: wrong ${one}`);
    }
  }
  return { scores, mistakes };
}

function kindOf(one: string): string {
  return one.slice(0, one.indexOf(' '));
}

function table(scores: Map<string, Score>): Record<string, Score & { precision: number; recall: number }> {
  return Object.fromEntries(
    [...scores].map(([kind, counts]) => [
      kind,
      {
        ...counts,
        precision: counts.found === 0 ? 0 : Number((counts.right / counts.found).toFixed(3)),
        recall: counts.labelled === 0 ? 0 : Number((counts.right / counts.labelled).toFixed(3)),
      },
    ]),
  );
}

describe('inference against labels', () => {
  it.each(SETS)('finds what a person would (%s)', (set) => {
    const { scores, mistakes } = score(labels[set]);
    const result = table(scores);
    console.table(result);
    console.log(mistakes.join('\n'));
    expect(SETS.map((name) => Object.keys(labels[name]).length)).toEqual([40, 10, 26, 15, 15]);
    for (const [kind, { precision, recall }] of Object.entries(result)) {
      expect(precision, kind).toBeGreaterThanOrEqual(0.9);
      expect(recall, kind).toBeGreaterThanOrEqual(0.9);
    }
  });

  it('finds prompts and seeds of all sets together almost without a mistake', () => {
    const all = Object.assign({}, ...SETS.map((name) => labels[name])) as z.infer<typeof labelled>;
    const result = table(score(all).scores);
    for (const kind of ['prompt', 'seed']) {
      expect(result[kind]?.precision, kind).toBeGreaterThanOrEqual(0.98);
      expect(result[kind]?.recall, kind).toBeGreaterThanOrEqual(0.98);
    }
  });

  it('gives inputs and outputs that endpoint.json accepts', () => {
    for (const template of SETS.flatMap((name) => Object.keys(labels[name]))) {
      const workflow = workflowOf(template);
      const inputs = endpointInputs(inferInputs(workflow, coreObjectInfo()));
      const outputs = endpointOutputs(inferOutputs(workflow, coreObjectInfo()));
      const config = parseEndpointConfig({ name: 'labelled', title: template, inputs, outputs });
      expect(config.inputs, template).toEqual(inputs);
      expect(Object.keys(config.outputs).length, template).toBeGreaterThan(0);
    }
  });
});
