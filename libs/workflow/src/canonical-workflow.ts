import type { ApiNode, ApiNodeMeta, ApiWorkflow } from './api-workflow.ts';
import { isObject, type Json } from './json-value.ts';

/**
 * The same workflow with its nodes, inputs and the keys of constant values in one fixed order, so that equal workflows
 * are equal texts. Ids stay: endpoint.json refers to them.
 */
export function canonicalWorkflow(workflow: ApiWorkflow): ApiWorkflow {
  return fromSorted(workflow, compareIds, (node) => ({
    class_type: node.class_type,
    inputs: fromSorted(node.inputs, compareTexts, canonicalValue),
    ...(node._meta === undefined ? {} : { _meta: canonicalMeta(node._meta) }),
  }));
}

/** The text of a workflow's canonical form: indented JSON with a line end, to be kept in a repository. */
export function printWorkflow(workflow: ApiWorkflow): string {
  return `${JSON.stringify(canonicalWorkflow(workflow), null, 2)}\n`;
}

/**
 * SHA-256, in hexadecimal, of what a workflow does: classes, inputs and ids. Titles and package versions (`_meta`) and
 * the order of keys do not matter.
 */
export async function workflowHash(workflow: ApiWorkflow): Promise<string> {
  const content = fromSorted(canonicalWorkflow(workflow), compareIds, ({ class_type, inputs }: ApiNode) => ({
    class_type,
    inputs,
  }));
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(content)));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function canonicalMeta({ title, cnr_id, aux_id, ver }: ApiNodeMeta): ApiNodeMeta {
  return {
    ...(title === undefined ? {} : { title }),
    ...(cnr_id === undefined ? {} : { cnr_id }),
    ...(aux_id === undefined ? {} : { aux_id }),
    ...(ver === undefined ? {} : { ver }),
  };
}

/** Constant values are at most MAXIMUM_DEPTH deep: the guard has seen them. */
function canonicalValue(value: Json): Json {
  if (Array.isArray(value)) return (value as readonly Json[]).map(canonicalValue);
  if (isObject(value))
    return fromSorted(value as Readonly<Record<string, Json>>, compareTexts, canonicalValue);
  return value;
}

function fromSorted<In, Out>(
  record: Readonly<Record<string, In>>,
  compare: (left: string, right: string) => number,
  change: (value: In) => Out,
): Record<string, Out> {
  const entries = Object.entries(record).sort(([left], [right]) => compare(left, right));
  return Object.fromEntries(entries.map(([key, value]) => [key, change(value)]));
}

/** `9` before `10`, `57` before `57:3`; what is no number after what is one. */
function compareIds(left: string, right: string): number {
  const [a, b] = [left.split(':'), right.split(':')];
  for (let index = 0; index < Math.min(a.length, b.length); index += 1) {
    const [x, y] = [a[index] ?? '', b[index] ?? ''];
    const order = isDigits(x) && isDigits(y) ? Number(x) - Number(y) : compareTexts(x, y);
    if (order !== 0) return order;
  }
  return a.length - b.length || compareTexts(left, right);
}

function isDigits(text: string): boolean {
  return /^\d{1,15}$/.test(text);
}

/** By code units: the same on every machine, whatever its language. */
function compareTexts(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
