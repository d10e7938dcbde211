import { type ApiNode, type ApiWorkflow, isLink, type Link } from './api-workflow.ts';
import { ancestorsOf, findCycle, outputNodes } from './graph-queries.ts';
import { isObject, type Json } from './json-value.ts';
import { type DeclaredInput, findClass, inputsOf, type NodeClass, type ObjectInfo } from './object-info.ts';

/** Stable codes of {@link ValidationProblem}; most are ComfyUI's own error types. */
export type ValidationCode =
  | 'unknown_class'
  | 'prompt_no_outputs'
  | 'dependency_cycle'
  | 'required_input_missing'
  | 'bad_linked_input'
  | 'return_type_mismatch'
  | 'invalid_input_type'
  | 'value_smaller_than_min'
  | 'value_bigger_than_max'
  | 'value_not_in_list';

/** Something for which ComfyUI would refuse the workflow. */
export interface ValidationProblem {
  readonly code: ValidationCode;
  readonly nodeId: string | undefined;
  readonly input: string | undefined;
  readonly message: string;
}

/** Longest list of choices that a message repeats. */
const LARGEST_SHOWN_LIST = 20;

/** Options of {@link validateWorkflow}. */
export interface ValidateOptions {
  /**
   * Whether names of files must be in the lists of the object_info, as on the server that it came from; `unchecked` for
   * the built-in catalogue, which knows no files. `listed` without it.
   */
  readonly files?: 'listed' | 'unchecked';
}

/** Names of models and media, for which ComfyUI's lists depend on the machine. */
const FILE_NAME =
  /\.(?:safetensors|sft|ckpt|pt2?|pth|bin|pkl|gguf|onnx|yaml|png|jpe?g|webp|gif|mp4|webm|mov|mkv|mp3|wav|flac|ogg|glb|gltf|obj|latent)$/i;

/**
 * What a ComfyUI with these classes would refuse, in the order of the nodes; empty when it would run the workflow. As
 * ComfyUI does, it looks at every node's class, but only at the inputs of nodes that an output depends on.
 */
export function validateWorkflow(
  workflow: ApiWorkflow,
  objectInfo: ObjectInfo,
  options: ValidateOptions = {},
): ValidationProblem[] {
  const filesListed = options.files !== 'unchecked';
  const problems: ValidationProblem[] = [];
  for (const [id, node] of Object.entries(workflow)) {
    if (findClass(objectInfo, node.class_type) === undefined) {
      problems.push(problem('unknown_class', `Node ${id}: there is no class ${node.class_type}.`, id));
    }
  }
  const outputs = outputNodes(workflow, objectInfo);
  if (outputs.length === 0) {
    problems.push(
      problem('prompt_no_outputs', 'No node gives a result, such as SaveImage or PreviewImage does.'),
    );
  }
  const cycle = findCycle(workflow);
  if (cycle !== undefined) {
    const [first] = cycle;
    problems.push(problem('dependency_cycle', `Nodes depend on each other: ${cycle.join(' → ')}.`, first));
  }
  const alive = ancestorsOf(workflow, outputs);
  for (const [id, node] of Object.entries(workflow)) {
    const nodeClass = alive.has(id) ? findClass(objectInfo, node.class_type) : undefined;
    if (nodeClass === undefined) continue;
    for (const input of inputsOf(nodeClass)) {
      const found = inputProblem(workflow, objectInfo, node, input, filesListed);
      if (found === undefined) continue;
      const where = `Node ${id} (${node.class_type}), input ${input.name}`;
      problems.push(problem(found.code, `${where}: ${found.message}`, id, input.name));
    }
  }
  return problems;
}

interface InputProblem {
  readonly code: ValidationCode;
  readonly message: string;
}

function inputProblem(
  workflow: ApiWorkflow,
  objectInfo: ObjectInfo,
  node: ApiNode,
  input: DeclaredInput,
  filesListed: boolean,
): InputProblem | undefined {
  if (!Object.hasOwn(node.inputs, input.name)) {
    // The parts of a growing group have names of their own.
    if (!input.required || input.type === 'COMFY_AUTOGROW_V3') return undefined;
    return { code: 'required_input_missing', message: `${input.type} is required and missing.` };
  }
  const value = node.inputs[input.name] ?? null;
  if (isLink(value)) return linkProblem(workflow, objectInfo, value, input);
  if (Array.isArray(value)) {
    return {
      code: 'bad_linked_input',
      message: 'a list must be a link, [node, output], or wrapped as { __value__ }.',
    };
  }
  return valueProblem(
    isObject(value) && '__value__' in value ? value['__value__'] : value,
    input,
    filesListed,
  );
}

function linkProblem(
  workflow: ApiWorkflow,
  objectInfo: ObjectInfo,
  [source, output]: Link,
  { type }: DeclaredInput,
): InputProblem | undefined {
  const node = Object.hasOwn(workflow, source) ? workflow[source] : undefined;
  if (node === undefined) return { code: 'bad_linked_input', message: `there is no node ${source}.` };
  const nodeClass = findClass(objectInfo, node.class_type);
  if (nodeClass === undefined) return undefined;
  const received = nodeClass.output[output];
  if (received === undefined) {
    const message = `node ${source} (${node.class_type}) has ${countOutputs(nodeClass)}, so none of index ${output}.`;
    return { code: 'bad_linked_input', message };
  }
  const given = typeof received === 'string' ? received : 'COMBO';
  if (typesMeet(given, type)) return undefined;
  const message = `node ${source} (${node.class_type}) gives ${given} where ${type} is expected.`;
  return { code: 'return_type_mismatch', message };
}

function countOutputs({ output }: NodeClass): string {
  return output.length === 1 ? '1 output' : `${output.length} outputs`;
}

/** As ComfyUI decides it: equal, any, or with a part of `A,B` in common. */
function typesMeet(given: string, wanted: string): boolean {
  if (given === wanted) return true;
  const parts = new Set(given.split(',').map((part) => part.trim()));
  if (parts.has('*')) return true;
  return wanted.split(',').some((part) => part.trim() === '*' || parts.has(part.trim()));
}

function valueProblem(
  value: Json,
  { type, options, values }: DeclaredInput,
  filesListed: boolean,
): InputProblem | undefined {
  if (type === 'INT' || type === 'FLOAT') {
    const number = asNumber(value);
    if (number === undefined) {
      return {
        code: 'invalid_input_type',
        message: `${shown(value)} is no ${type === 'INT' ? 'whole ' : ''}number.`,
      };
    }
    const { min, max } = options;
    if (typeof min === 'number' && number < min)
      return { code: 'value_smaller_than_min', message: `${number} is less than ${min}.` };
    if (typeof max === 'number' && number > max)
      return { code: 'value_bigger_than_max', message: `${number} is more than ${max}.` };
    return undefined;
  }
  if (values === undefined || (!filesListed && values.length === 0)) return undefined;
  const wrong = (Array.isArray(value) ? (value as readonly Json[]) : [value]).find(
    (one) => !values.includes(one) && (filesListed || !isFileName(one)),
  );
  if (wrong === undefined) return undefined;
  const choices =
    values.length > LARGEST_SHOWN_LIST ? `the ${values.length} choices` : values.map(shown).join(', ');
  return { code: 'value_not_in_list', message: `${shown(wrong)} is not one of ${choices}.` };
}

function isFileName(value: Json): boolean {
  return typeof value === 'string' && FILE_NAME.test(value);
}

/** What Python's int() and float() accept. */
function asNumber(value: Json): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (typeof value !== 'string' || value.trim() === '') return undefined;
  const number = Number(value);
  return Number.isNaN(number) ? undefined : number;
}

function shown(value: Json): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function problem(code: ValidationCode, message: string, nodeId?: string, input?: string): ValidationProblem {
  return { code, nodeId, input, message };
}
