/** Properties of parsing, printing and converting, over generated workflows. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type ApiWorkflow, isApiWorkflow, MAXIMUM_NODES } from './api-workflow.ts';
import { canonicalWorkflow, printWorkflow } from './canonical-workflow.ts';
import { convertUiWorkflow } from './convert/ui-to-api.ts';
import { ancestorsOf, deadNodes, findCycle, linksOf, outputNodes } from './graph-queries.ts';
import { inferInputs } from './inference/infer-inputs.ts';
import type { Json } from './json-value.ts';
import { coreObjectInfo } from './node/core-catalogue.ts';
import { takeInventory } from './node/take-inventory.ts';
import { parseWorkflow } from './parse-workflow.ts';
import { parseUiWorkflow } from './ui-workflow.ts';
import { validateWorkflow } from './validate-workflow.ts';
import { diffWorkflows } from './workflow-diff.ts';
import { WorkflowError } from './workflow-error.ts';

/** Generated workflows for each property, as the acceptance of the library asks. */
const RUNS = 10_000;

const HOSTILE = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '', '-1', '1:2'];
/** Mostly names that mean something, so that most workflows get past the first check. */
const name = fc.oneof(
  { weight: 60, arbitrary: fc.constantFrom('image', 'images', 'seed', 'text', 'model', 'filename_prefix') },
  { weight: 1, arbitrary: fc.constantFrom(...HOSTILE) },
  { weight: 1, arbitrary: fc.string({ maxLength: 4 }) },
);
/** As JSON.stringify writes it: it knows no -0. */
const json = fc.jsonValue({ maxDepth: 1 }).map((value) => JSON.parse(JSON.stringify(value)) as Json);
const CLASSES = [
  'KSampler',
  'SaveImage',
  'ImageBlend',
  'LoadImage',
  'CLIPTextEncode',
  'PrimitiveNode',
  'Reroute',
];
const type = fc.oneof(
  { weight: 60, arbitrary: fc.constantFrom(...CLASSES, 'Note', 'sub') },
  { weight: 1, arbitrary: fc.constantFrom('constructor', 'Unknown') },
);

/** Nodes link to nodes before them, so that there are no circles. */
const apiWorkflow: fc.Arbitrary<ApiWorkflow> = fc
  .array(fc.tuple(type, fc.array(fc.tuple(name, json, fc.nat(), fc.nat(3)), { maxLength: 4 }), name), {
    minLength: 1,
    maxLength: 8,
  })
  .map((nodes) => {
    const workflow: Record<string, ApiWorkflow[string]> = {};
    for (const [index, [class_type, inputs, title]] of nodes.entries()) {
      const entries = inputs
        .filter(([key]) => !['__proto__', 'constructor', 'prototype'].includes(key))
        .map(([key, value, pick, kind]): [string, Json] =>
          kind === 0 && index > 0 ? [key, [String((pick % index) + 1), pick % 3]] : [key, { value }],
        );
      workflow[String(index + 1)] = { class_type, inputs: Object.fromEntries(entries), _meta: { title } };
    }
    return workflow;
  })
  .filter(isApiWorkflow);

const slot = fc.record({
  name,
  type: fc.constantFrom('IMAGE', 'INT', '*'),
  link: fc.option(fc.nat(6)),
  widget: fc.option(fc.record({ name }), { nil: undefined }),
});
const nodeId = fc.oneof(
  { weight: 60, arbitrary: fc.integer({ min: 1, max: 6 }) },
  { weight: 1, arbitrary: fc.constantFrom('a', '3', 'constructor', '__proto__') },
);
const proxyWidgets = fc.array(fc.tuple(fc.constantFrom('1', '-1', '2'), name), { maxLength: 2 });
const uiNode = fc.record({
  id: nodeId,
  type,
  mode: fc.constantFrom(0, 0, 0, 2, 4),
  inputs: fc.array(slot, { maxLength: 3 }),
  outputs: fc.constant([{ name: 'x', type: 'IMAGE' }]),
  widgets_values: fc.oneof(fc.array(json, { maxLength: 4 }), fc.dictionary(name, json, { maxKeys: 2 })),
  properties: fc.record({ proxyWidgets }),
});
const nodes = (maxLength: number) => fc.uniqueArray(uiNode, { maxLength, selector: ({ id }) => String(id) });
const end = fc.constantFrom(1, 2, 3, 4, 5, 6, -10, -20);
const links = fc.array(fc.tuple(fc.nat(6), end, fc.nat(2), end, fc.nat(2)), { maxLength: 6 });
const boundary = fc.array(
  fc.record({ name, type: fc.constant('IMAGE'), linkIds: fc.array(fc.nat(6), { maxLength: 2 }) }),
  {
    maxLength: 2,
  },
);
const withoutItself = nodes(3).map((inner) => inner.filter((node) => node.type !== 'sub'));
const definition = fc.record({
  id: fc.constant('sub'),
  nodes: fc.oneof({ weight: 20, arbitrary: withoutItself }, { weight: 1, arbitrary: nodes(3) }),
  links,
  inputs: boundary,
  outputs: boundary,
});
const uiWorkflow = fc
  .record({
    last_node_id: fc.nat(10),
    nodes: nodes(6),
    links,
    definitions: fc.record({ subgraphs: fc.tuple(definition) }),
  })
  .map((workflow) => JSON.parse(JSON.stringify(workflow)) as typeof workflow);

/** Runs a call that may refuse, and nothing else. */
function orRefusal<Result>(call: () => Result): Result | WorkflowError {
  try {
    return call();
  } catch (error) {
    if (WorkflowError.isInstance(error)) return error;
    throw error;
  }
}

describe('any workflow in API format', () => {
  it('is what parsing its print gives', () => {
    fc.assert(
      fc.property(apiWorkflow, (workflow) => {
        const parsed = parseWorkflow(JSON.parse(printWorkflow(workflow)));
        expect(parsed).toEqual({ format: 'api', workflow });
        expect(printWorkflow(canonicalWorkflow(workflow))).toBe(printWorkflow(workflow));
      }),
      { numRuns: RUNS },
    );
  }, 60_000);

  it('equals itself, has no circle, and can be asked about', () => {
    const objectInfo = coreObjectInfo();
    fc.assert(
      fc.property(apiWorkflow, (workflow) => {
        expect(diffWorkflows(workflow, workflow)).toEqual([]);
        expect(findCycle(workflow)).toBeUndefined();
        const alive = ancestorsOf(workflow, outputNodes(workflow, objectInfo));
        expect(alive.size + deadNodes(workflow, objectInfo).length).toBe(Object.keys(workflow).length);
        expect(Array.isArray(validateWorkflow(workflow, objectInfo))).toBe(true);
      }),
    );
  });
});

describe('any workflow in UI format', () => {
  it('is what parsing its print gives, and converts or is refused, twice alike, changed in nothing', () => {
    const objectInfo = coreObjectInfo();
    const counts = { converted: 0, refused: 0, invalid: 0 };
    fc.assert(
      fc.property(uiWorkflow, (workflow) => {
        const text = JSON.stringify(workflow);
        const parsed = orRefusal(() => parseUiWorkflow(workflow));
        const again = orRefusal(() => parseUiWorkflow(JSON.parse(text)));
        if (parsed instanceof WorkflowError) {
          counts.invalid += 1;
          expect(again).toMatchObject({ message: parsed.message });
          return;
        }
        expect(again).toEqual(workflow);

        const converted = orRefusal(() => convertUiWorkflow(parsed, objectInfo));
        expect(orRefusal(() => convertUiWorkflow(parsed, objectInfo))).toEqual(converted);
        expect(JSON.stringify(workflow)).toBe(text);
        if (converted instanceof WorkflowError) {
          counts.refused += 1;
          return;
        }
        counts.converted += 1;
        for (const node of Object.values(converted)) {
          expect(Object.getPrototypeOf(node.inputs)).toBe(Object.prototype);
          for (const [, [source]] of linksOf(node)) expect(Object.hasOwn(converted, source)).toBe(true);
        }
      }),
      { numRuns: RUNS },
    );
    console.table(counts);
    expect(Object.keys(Object.prototype)).toEqual([]);
    // Enough of each kind for this to mean anything.
    expect(Math.min(counts.converted, counts.refused, counts.invalid)).toBeGreaterThan(RUNS / 50);
  }, 60_000);

  it('ends with a WorkflowError or a workflow for any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (nodes, links) => {
        orRefusal(() => parseWorkflow({ nodes, links }));
      }),
    );
  });
});

describe('20,000 nodes', () => {
  /** Generous for a loaded machine, on which it takes up to 5 s; a quadratic step would take minutes at this size. */
  const LIMIT_MS = 20_000;

  it.each([
    ['in one chain', (index: number) => index - 1],
    ['all on one node', () => 0],
  ])(
    '%s are checked, queried, printed and compared in linear time',
    (_, sourceOf) => {
      const objectInfo = coreObjectInfo();
      const workflow: Record<string, ApiWorkflow[string]> = {};
      for (let index = 0; index < MAXIMUM_NODES; index += 1) {
        const inputs: Record<string, Json> = index === 0 ? {} : { image: [`n${sourceOf(index)}`, 0] };
        workflow[`n${index}`] = {
          class_type: index === MAXIMUM_NODES - 1 ? 'PreviewImage' : 'ImageInvert',
          inputs,
        };
      }
      const renamed = Object.fromEntries(
        Object.entries(workflow).map(([id, node]) => [id.replace('n', 'm'), node]),
      );
      const started = performance.now();
      parseWorkflow(workflow);
      expect(findCycle(workflow)).toBeUndefined();
      expect(outputNodes(workflow, objectInfo)).toHaveLength(1);
      deadNodes(workflow, objectInfo);
      validateWorkflow(workflow, objectInfo);
      printWorkflow(workflow);
      expect(diffWorkflows(workflow, renamed).length).toBeGreaterThan(MAXIMUM_NODES);
      expect(performance.now() - started).toBeLessThan(LIMIT_MS);
    },
    60_000,
  );

  it('as the page saves them are converted and taken stock of in linear time', () => {
    const objectInfo = coreObjectInfo();
    const types = ['ImageInvert', 'ImagePadForOutpaint', 'Reroute', 'ImageScale'];
    const nodes = Array.from({ length: MAXIMUM_NODES }, (_, index) => ({
      id: index + 1,
      type: types[index % types.length],
      mode: index % 17 === 0 ? 4 : 0,
      inputs: [{ name: 'image', type: 'IMAGE', ...(index === 0 ? {} : { link: index }) }],
      outputs: [{ name: 'IMAGE', type: 'IMAGE' }],
      widgets_values: [1, 2, 3, 4, 5],
    }));
    const links = nodes.slice(1).map(({ id }) => [id - 1, id - 1, 0, id, 0, 'IMAGE']);
    const started = performance.now();
    const workflow = convertUiWorkflow(parseUiWorkflow({ version: 0.4, nodes, links }), objectInfo);
    inferInputs(workflow, objectInfo);
    takeInventory(workflow);
    expect(Object.keys(workflow).length).toBeGreaterThan(MAXIMUM_NODES / 2);
    expect(performance.now() - started).toBeLessThan(LIMIT_MS);
  }, 60_000);

  it('half of them samplers have their inputs named in linear time', () => {
    const objectInfo = coreObjectInfo();
    const workflow: Record<string, ApiWorkflow[string]> = {
      a: { class_type: 'EmptyLatentImage', inputs: { width: 512, height: 512, batch_size: 1 } },
    };
    for (let index = 0; index < MAXIMUM_NODES / 2 - 1; index += 1) {
      const text = `t${index}`;
      workflow[text] = { class_type: 'CLIPTextEncode', inputs: { text } };
      const latent = index === 0 ? 'a' : `s${index - 1}`;
      const links = { positive: [text, 0], negative: [text, 0], latent_image: [latent, 0] };
      workflow[`s${index}`] = {
        class_type: 'KSampler',
        inputs: { seed: index, cfg: 7, denoise: 1, ...links },
      };
    }
    const started = performance.now();
    const inputs = inferInputs(workflow, objectInfo);
    expect(new Set(inputs.map(({ name }) => name)).size).toBe(inputs.length);
    expect(inputs.length).toBeGreaterThan(MAXIMUM_NODES / 2);
    expect(performance.now() - started).toBeLessThan(LIMIT_MS);
  }, 60_000);
});
