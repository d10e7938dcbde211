import { describe, isForbidden, isObject, type Json, type JsonObject } from './json-value.ts';
import { WorkflowError } from './workflow-error.ts';

/** Type and options of an input as ComfyUI's `/object_info` states them: `["INT", {"default": 1}]`. */
export type InputDeclaration = readonly [
  type: string | readonly Json[],
  options?: JsonObject,
  ...rest: Json[],
];

/** One class of nodes in an object_info. */
export interface NodeClass {
  readonly name: string;
  readonly display_name?: string | null;
  readonly input: {
    readonly required?: Readonly<Record<string, InputDeclaration>>;
    readonly optional?: Readonly<Record<string, InputDeclaration>>;
  };
  /** Order of the inputs; JSON written by others may have sorted the objects above. */
  readonly input_order?: { readonly required?: readonly string[]; readonly optional?: readonly string[] };
  /** Types of the outputs; a list stands for the values of a COMBO. */
  readonly output: readonly (string | readonly Json[])[];
  readonly output_name?: readonly string[];
  /** Whether ComfyUI runs a node of this class for its own sake. */
  readonly output_node?: boolean;
  /** Where the page's menu has it, such as `sampling/custom_sampling`. */
  readonly category?: string;
  /** Python module that defines it: `nodes`, `comfy_extras.…`, `custom_nodes.<folder>`. */
  readonly python_module?: string;
  /** Whether it asks a paid service instead of computing anything. */
  readonly api_node?: boolean;
}

/** The catalogue of node classes that a ComfyUI answers `GET /object_info` with, by class. */
export type ObjectInfo = Readonly<Record<string, NodeClass>>;

/** An input of a class, in the order in which the page shows them. */
export interface DeclaredInput {
  readonly name: string;
  /** `INT`, `IMAGE`, `COMBO`, … A list of values is a `COMBO`. */
  readonly type: string;
  readonly options: JsonObject;
  readonly required: boolean;
  /** Values of a COMBO; `undefined` for other types and where the server does not list them. */
  readonly values: readonly Json[] | undefined;
}

/**
 * Checks that a value is an object_info, and returns it.
 *
 * @throws {WorkflowError} `invalid_object_info`, naming the class and the input.
 */
export function parseObjectInfo(value: unknown): ObjectInfo {
  if (!isObject(value)) throw fail(`An object_info is an object of classes by name, not ${describe(value)}.`);
  for (const [name, entry] of Object.entries(value)) {
    if (isForbidden(name)) throw fail(`"${name}" is not allowed as the name of a class.`);
    if (!isObject(entry)) throw fail(`Class ${name} must be an object, not ${describe(entry)}.`);
    if (!isObject(entry['input'])) throw fail(`Class ${name} has no object "input".`);
    if (!Array.isArray(entry['output'])) throw fail(`Class ${name} has no list "output".`);
    for (const section of ['required', 'optional']) checkSection(name, section, entry['input'][section]);
  }
  // Every class and input was looked at above.
  return value as unknown as ObjectInfo;
}

/** The class of that name; `undefined` also for names such as `constructor` that every object answers to. */
export function findClass(objectInfo: ObjectInfo, name: string): NodeClass | undefined {
  return Object.hasOwn(objectInfo, name) ? objectInfo[name] : undefined;
}

const declared = new WeakMap<NodeClass, readonly DeclaredInput[]>();

/** The inputs of a class, required before optional, each in the declared order. */
export function inputsOf(nodeClass: NodeClass): readonly DeclaredInput[] {
  let inputs = declared.get(nodeClass);
  if (inputs === undefined) {
    inputs = [
      ...sectionInputs(nodeClass.input.required, nodeClass.input_order?.required, true),
      ...sectionInputs(nodeClass.input.optional, nodeClass.input_order?.optional, false),
    ];
    declared.set(nodeClass, inputs);
  }
  return inputs;
}

/** One section of inputs (`required` or `optional`), in the declared order. */
export function sectionInputs(
  section: Readonly<Record<string, InputDeclaration>> | undefined,
  order: readonly string[] | undefined,
  required: boolean,
): DeclaredInput[] {
  if (section === undefined) return [];
  const names = new Set([
    ...(order ?? []).filter((name) => Object.hasOwn(section, name)),
    ...Object.keys(section),
  ]);
  return [...names].flatMap((name) => {
    const declaration = section[name];
    return declaration === undefined ? [] : [declaredInput(name, declaration, required)];
  });
}

/** Type of an output of a class; `undefined` where it has none at that index. */
export function outputType(nodeClass: NodeClass, index: number): string | undefined {
  const type = nodeClass.output[index];
  return type === undefined || typeof type === 'string' ? type : 'COMBO';
}

function declaredInput(name: string, declaration: InputDeclaration, required: boolean): DeclaredInput {
  const [type, given] = declaration;
  const options = given ?? {};
  if (typeof type !== 'string') return { name, type: 'COMBO', options, required, values: type };
  const values =
    type === 'COMBO' && Array.isArray(options['options']) ? (options['options'] as Json[]) : undefined;
  return { name, type, options, required, values };
}

function checkSection(className: string, section: string, inputs: unknown): void {
  if (inputs === undefined || inputs === null) return;
  if (!isObject(inputs))
    throw fail(`Class ${className}: "${section}" must be an object, not ${describe(inputs)}.`);
  for (const [name, declaration] of Object.entries(inputs)) {
    const where = `Class ${className}, input ${name}`;
    if (isForbidden(name)) throw fail(`${where}: this name is not allowed.`, name);
    if (!Array.isArray(declaration))
      throw fail(`${where} must be a list, not ${describe(declaration)}.`, name);
    const [type, options] = declaration as unknown[];
    if (typeof type !== 'string' && !Array.isArray(type))
      throw fail(`${where}: its type must be a text or a list of values, not ${describe(type)}.`, name);
    if (options !== undefined && options !== null && !isObject(options))
      throw fail(`${where}: its options must be an object, not ${describe(options)}.`, name);
  }
}

function fail(message: string, input?: string): WorkflowError {
  return new WorkflowError('invalid_object_info', message, input === undefined ? {} : { input });
}
