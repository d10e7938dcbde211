import type { ApiWorkflow, EndpointConfig, EndpointInput } from '@ryla/workflow';

import { type Place, PlaceFinder } from './merge-places.ts';

type Inputs = Readonly<Record<string, EndpointInput>>;
type Outputs = EndpointConfig['outputs'];

/** A workflow and what was inferred from it. */
export interface Version {
  readonly workflow: ApiWorkflow;
  readonly inputs: Inputs;
  readonly outputs: Outputs;
}

/** Inputs or outputs after a change of the workflow, and what changed in words. */
export interface Merged<Value> {
  readonly values: Readonly<Record<string, Value>>;
  readonly changes: readonly string[];
}

/**
 * The inputs of an endpoint.json for a changed workflow. An input stays as it is written, wherever its node went; only a
 * default that nobody edited follows the workflow. One whose place is gone goes. One that the workflow gained comes; one
 * that was removed by hand does not come back.
 */
export function mergeInputs(current: Inputs, earlier: Version, later: Version): Merged<EndpointInput> {
  const finder = new PlaceFinder(earlier.workflow, later.workflow);
  const values: Record<string, EndpointInput> = {};
  const changes: string[] = [];
  for (const [name, input] of Object.entries(current)) {
    const kept = moved(finder, input);
    if (kept === undefined) {
      changes.push(`- ${name}: node ${input.node} has no ${input.field} any more`);
      continue;
    }
    const now = withDefaultOf(kept, input, placedAt(earlier.inputs, input), placedAt(later.inputs, kept));
    if (now.default !== input.default)
      changes.push(`~ ${name}: default ${shown(input.default)} → ${shown(now.default)}`);
    values[name] = now;
  }
  const before = new Set(Object.values(earlier.inputs).flatMap((input) => placesIn(finder, input)));
  const taken = new Set(Object.values(values).flatMap((input) => places(input).map(key)));
  for (const [name, input] of Object.entries(later.inputs)) {
    if (before.has(key(input)) || taken.has(key(input))) continue;
    const free = freeName(name, values);
    values[free] = input;
    changes.push(`+ ${free}: ${input.type}, node ${input.node}, ${input.field}`);
  }
  return { values, changes };
}

/** The outputs of an endpoint.json for a changed workflow, by the same rules as {@link mergeInputs}. */
export function mergeOutputs(current: Outputs, earlier: Version, later: Version): Merged<Outputs[string]> {
  const finder = new PlaceFinder(earlier.workflow, later.workflow);
  const values: Record<string, Outputs[string]> = {};
  const changes: string[] = [];
  for (const [name, output] of Object.entries(current)) {
    const node = finder.node(output.node);
    if (node === undefined) changes.push(`- ${name}: node ${output.node} is gone`);
    else values[name] = { ...output, node };
  }
  const before = new Set(Object.values(earlier.outputs).map(({ node }) => finder.node(node)));
  const taken = new Set(Object.values(values).map(({ node }) => node));
  for (const [name, output] of Object.entries(later.outputs)) {
    if (before.has(output.node) || taken.has(output.node)) continue;
    const free = freeName(name, values);
    values[free] = output;
    changes.push(`+ ${free}: ${output.type}, node ${output.node}`);
  }
  return { values, changes };
}

/** Entries of a list that the earlier workflow needed and the later one does not go; what came is added. */
export function mergeList<Entry>(
  current: readonly Entry[],
  wanted: readonly Entry[],
  isStillUsed: (entry: Entry) => boolean,
  nameOf: (entry: Entry) => string,
): { readonly values: Entry[]; readonly changes: string[] } {
  const kept = current.filter(isStillUsed);
  const names = new Set(kept.map(nameOf));
  const added = wanted.filter((entry) => !names.has(nameOf(entry)));
  return {
    values: [...kept, ...added],
    changes: [
      ...current.filter((entry) => !isStillUsed(entry)).map((entry) => `- ${nameOf(entry)}`),
      ...added.map((entry) => `+ ${nameOf(entry)}`),
    ],
  };
}

function moved(finder: PlaceFinder, input: EndpointInput): EndpointInput | undefined {
  const place = finder.place(input);
  if (place === undefined) return undefined;
  const { also, ...rest } = input;
  const others = (also ?? []).flatMap((one) => finder.place(one) ?? []);
  return { ...rest, ...place, ...(others.length === 0 ? {} : { also: others }) };
}

/** The default follows the workflow where it still is what was inferred from the earlier one. */
function withDefaultOf(
  input: EndpointInput,
  current: EndpointInput,
  before: EndpointInput | undefined,
  now: EndpointInput | undefined,
): EndpointInput {
  const isEdited = before?.type !== current.type || before.default !== current.default;
  if (isEdited || now?.type !== input.type || now.default === undefined) return input;
  if (!fits(input, now.default)) return input;
  return { ...input, default: now.default } as EndpointInput;
}

/** Whether a default keeps to limits that may have been set by hand. */
function fits(input: EndpointInput, value: unknown): boolean {
  if (typeof value === 'number' && (input.type === 'integer' || input.type === 'number'))
    return value >= (input.minimum ?? -Infinity) && value <= (input.maximum ?? Infinity);
  if (typeof value === 'string' && (input.type === 'string' || input.type === 'text'))
    return value.length <= (input.maxLength ?? Infinity);
  return input.type !== 'enum' || input.values.some((one) => one === value);
}

function placedAt(inputs: Inputs, place: Place): EndpointInput | undefined {
  return Object.values(inputs).find((input) => places(input).some((one) => key(one) === key(place)));
}

function places(input: EndpointInput): Place[] {
  return [input, ...(input.also ?? [])];
}

function placesIn(finder: PlaceFinder, input: EndpointInput): string[] {
  return places(input).flatMap((place) => {
    const now = finder.place(place);
    return now === undefined ? [] : [key(now)];
  });
}

function key({ node, field }: Place): string {
  return JSON.stringify([node, field]);
}

function freeName(name: string, taken: Readonly<Record<string, unknown>>): string {
  let free = name;
  for (let count = 2; Object.hasOwn(taken, free); count += 1) free = `${name}${count}`;
  return free;
}

function shown(value: unknown): string {
  const text = value === undefined ? 'none' : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
