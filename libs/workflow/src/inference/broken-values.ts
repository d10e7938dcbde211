import { isLink } from '../api-workflow.ts';
import type { Json, JsonObject } from '../json-value.ts';
import type { DeclaredInput } from '../object-info.ts';
import type { Place, WorkflowView } from './workflow-view.ts';

/** A value that cannot be an input, because the workflow's file holds something else there than the class declares. */
export interface BrokenValue extends Place {
  /** What is the matter, in a sentence. */
  readonly why: string;
}

/**
 * Values that are not of the type that their class declares, and those behind them in the same node: such a file was
 * saved by a ComfyUI whose class had other widgets, so that all from there on may be one off.
 */
export function brokenValues(view: WorkflowView): BrokenValue[] {
  return view.ids.flatMap((id) => {
    const { inputs } = view.node(id);
    const constants = view
      .declaredInputs(id)
      .filter(({ name }) => Object.hasOwn(inputs, name) && !isLink(inputs[name]));
    const first = constants.findIndex((declared) => !fits(declared, inputs[declared.name]));
    const culprit = first < 0 ? undefined : constants[first];
    if (culprit === undefined) return [];
    const what = `Node ${id} (${view.classOf(id)}) has ${JSON.stringify(inputs[culprit.name])} for ${culprit.name}, which is ${wanted(culprit)}`;
    return constants.slice(first).map(({ name }) => ({
      node: id,
      field: name,
      why:
        name === culprit.name
          ? `${what}: open the workflow in ComfyUI, set it again and save.`
          : `${what}; the values after it, and so ${name}, may be in the wrong place too.`,
    }));
  });
}

function fits(declared: DeclaredInput, value: Json | undefined): boolean {
  const { type, options, values } = declared;
  if (value === undefined) return true;
  switch (type) {
    case 'INT':
    case 'FLOAT':
      return typeof value === 'number' && isWithin(value, options);
    case 'BOOLEAN':
      return typeof value !== 'string' || /^(?:true|false)$/i.test(value);
    case 'COMBO': {
      if (values === undefined || values.length === 0 || values.includes(value)) return true;
      return values.every((choice) => typeof choice === typeof value) && !CONTROL.has(value);
    }
    default:
      return true;
  }
}

/** Values of the widget that the page puts behind a seed: none is the name of a file or of a choice. */
const CONTROL = new Set<Json>(['fixed', 'increment', 'decrement', 'randomize']);

function isWithin(value: number, { min, max }: JsonObject): boolean {
  return (typeof min !== 'number' || value >= min) && (typeof max !== 'number' || value <= max);
}

/** What a class wants, in words. */
function wanted({ type, options: { min, max }, values }: DeclaredInput): string {
  if (values !== undefined) return 'none of its choices';
  return typeof min === 'number' && typeof max === 'number'
    ? `no ${type} from ${min} to ${max}`
    : `no ${type}`;
}
