import type { Json, JsonObject } from '../json-value.ts';
import { isObject } from '../json-value.ts';
import {
  type DeclaredInput,
  type InputDeclaration,
  inputsOf,
  type NodeClass,
  sectionInputs,
} from '../object-info.ts';
import type { UiNode } from '../ui-workflow.ts';

/** A widget of a node with the value that the workflow file holds for it. */
export interface Widget {
  readonly name: string;
  /** `undefined` where the file holds none and the class declares no default. */
  readonly value: Json | undefined;
  /** Whether the value belongs in the API format; previews and buttons do not. */
  readonly sent: boolean;
  readonly declared: DeclaredInput | undefined;
}

/** Types for which the page makes a widget; every other type is a socket only. */
const WIDGET_TYPES = new Set([
  ...[
    'INT',
    'FLOAT',
    'BOOLEAN',
    'STRING',
    'COMBO',
    'MARKDOWN',
    'TEXTAREA',
    'COLOR',
    'COLORS',
    'CURVE',
    'RANGE',
  ],
  ...['CHART', 'GALLERIA', 'PAINTER', 'COMPOSITOR', 'VIDEO_EDIT', 'BOUNDING_BOX', 'BOUNDING_BOXES'],
  ...[
    'IMAGECOMPARE',
    'IMAGEUPLOAD',
    'AUDIOUPLOAD',
    'AUDIO_UI',
    'AUDIO_RECORD',
    'WEBCAM',
    'RESOLUTION_PREVIEW',
  ],
  ...['LOAD_3D', 'LOAD_3D_ANIMATION', 'PREVIEW_3D', 'PREVIEW_3D_ANIMATION', 'COMFY_DYNAMICCOMBO_V3'],
]);

/** Widgets that show something and are never sent. */
const DISPLAY_TYPES = new Set([
  'IMAGECOMPARE',
  'IMAGEUPLOAD',
  'AUDIOUPLOAD',
  'AUDIO_UI',
  'RESOLUTION_PREVIEW',
]);

/** Classes to which the page adds a 3D view called `image`, whose value is sent. */
const WITH_3D_VIEW = new Set(['Preview3D', 'Preview3DAnimation', 'SaveGLB']);

/** Names that make a whole number a seed where the class does not say so itself. */
const SEED_NAMES = new Set(['seed', 'noise_seed']);

/** Whether the page makes a widget for an input. */
export function isWidgetInput({ type, options }: DeclaredInput): boolean {
  return widgetType(type, options) !== undefined && options['forceInput'] !== true;
}

function widgetType(type: string, options: JsonObject): string | undefined {
  const named = typeof options['widgetType'] === 'string' ? options['widgetType'] : type;
  return WIDGET_TYPES.has(named) ? named : undefined;
}

/**
 * The widgets of a node in the page's order, which is the order of `widgets_values`: required inputs before optional
 * ones, each followed by its control widgets and, for a dynamic combo, by the inputs of the chosen option.
 */
export function readWidgets(nodeClass: NodeClass, node: UiNode): Widget[] {
  const declared = inputsOf(nodeClass);
  const source = valueSource(declared, node);
  const widgets: Widget[] = [];
  const pending = declared.toReversed();
  for (let input = pending.pop(); input !== undefined; input = pending.pop()) {
    if (input.type === 'COMFY_AUTOGROW_V3') {
      pending.push(...grownInputs(input, node).reverse());
      continue;
    }
    if (!isWidgetInput(input)) continue;
    const value = mendedValue(nodeClass, input, source.take(input.name));
    widgets.push({
      name: input.name,
      value,
      sent: !DISPLAY_TYPES.has(input.type),
      declared: input,
    });
    source.skip(controlCount(input));
    if (input.type === 'COMFY_DYNAMICCOMBO_V3') pending.push(...chosenInputs(input, value).reverse());
  }
  if (WITH_3D_VIEW.has(nodeClass.name)) {
    const value = source.take('image') ?? '';
    widgets.push({ name: 'image', value, sent: true, declared: undefined });
  }
  return widgets;
}

/** Hands out the saved values one after another, or by name where a node saves them so. */
function valueSource(
  declared: readonly DeclaredInput[],
  node: UiNode,
): { take(name: string): Json | undefined; skip(count: number): void } {
  const saved = node.widgets_values;
  if (isObject(saved)) {
    return {
      take: (name) => (Object.hasOwn(saved, name) ? saved[name] : undefined),
      skip: () => undefined,
    };
  }
  const values = withoutForcedInputs(declared, saved ?? []);
  let next = 0;
  return { take: () => values[next++], skip: (count) => (next += count) };
}

/**
 * Files saved before an input became a socket (`forceInput`) still hold a value for it. They are known by their
 * number of values.
 */
function withoutForcedInputs(declared: readonly DeclaredInput[], values: readonly Json[]): readonly Json[] {
  const forced = declared.flatMap((input) => {
    const isForced = input.options['forceInput'] === true;
    if (!isForced && !isWidgetInput(input)) return [];
    return input.options['control_after_generate'] ? [isForced, false] : [isForced];
  });
  if (!forced.includes(true) || forced.length !== values.length) return values;
  return values.filter((_, index) => forced[index] !== true);
}

/** How many control widgets follow: `control_after_generate`, and for a COMBO of one value also its filter. */
function controlCount({ name, type, options }: DeclaredInput): number {
  const control = options['control_after_generate'] ?? (type === 'INT' && SEED_NAMES.has(name));
  if (!control) return 0;
  if (type === 'COMBO') return isMultiple(options) ? 1 : 2;
  return type === 'INT' || type === 'FLOAT' ? 1 : 0;
}

function isMultiple(options: JsonObject): boolean {
  return options['multi_select'] !== undefined && options['multi_select'] !== false;
}

/** The page's own repairs of what old files hold. */
function mendedValue(nodeClass: NodeClass, input: DeclaredInput, saved: Json | undefined): Json | undefined {
  const value = saved === undefined ? defaultValue(input) : saved;
  if (input.type !== 'COMBO') return value;
  if (value === null) return input.values?.[0] ?? null;
  const isSampler = nodeClass.name === 'KSampler' || nodeClass.name === 'KSamplerAdvanced';
  if (isSampler && input.name === 'sampler_name' && typeof value === 'string')
    return value.startsWith('sample_') ? value.slice('sample_'.length) : value;
  return value;
}

function defaultValue({ type, options, values }: DeclaredInput): Json | undefined {
  const given = options['default'];
  switch (type) {
    case 'INT':
    case 'FLOAT':
      return given ?? 0;
    case 'BOOLEAN':
      return given ?? false;
    case 'STRING':
    case 'MARKDOWN':
    case 'TEXTAREA':
      return given ?? '';
    case 'COMBO':
      if (isMultiple(options)) return [];
      return given || (values?.[0] ?? (options['remote'] === undefined ? undefined : 'Loading...'));
    case 'COMFY_DYNAMICCOMBO_V3':
      return optionsOf(options)[0]?.key;
    default:
      return given;
  }
}

interface DynamicOption {
  readonly key: string;
  readonly required: Readonly<Record<string, InputDeclaration>> | undefined;
  readonly optional: Readonly<Record<string, InputDeclaration>> | undefined;
}

function optionsOf(options: JsonObject): DynamicOption[] {
  const list = options['options'];
  if (!Array.isArray(list)) return [];
  return (list as readonly Json[]).flatMap((option) => {
    if (!isObject(option) || typeof option['key'] !== 'string') return [];
    const inputs = isObject(option['inputs']) ? option['inputs'] : {};
    return [
      {
        key: option['key'],
        required: declarations(inputs['required']),
        optional: declarations(inputs['optional']),
      },
    ];
  });
}

function declarations(section: unknown): Readonly<Record<string, InputDeclaration>> | undefined {
  if (!isObject(section)) return undefined;
  const entries = Object.entries(section).filter((entry): entry is [string, InputDeclaration] =>
    isDeclaration(entry[1]),
  );
  return Object.fromEntries(entries);
}

function isDeclaration(value: unknown): value is InputDeclaration {
  return Array.isArray(value) && (typeof value[0] === 'string' || Array.isArray(value[0]));
}

/** The inputs that the chosen option of a dynamic combo brings, named `combo.input`. */
function chosenInputs(combo: DeclaredInput, value: Json | undefined): DeclaredInput[] {
  const option = optionsOf(combo.options).find(({ key }) => key === value);
  if (option === undefined) return [];
  return [
    ...sectionInputs(option.required, undefined, true),
    ...sectionInputs(option.optional, undefined, false),
  ].map((input) => ({ ...input, name: `${combo.name}.${input.name}` }));
}

/** The widgets of a growing group: as many as the node has sockets for. */
function grownInputs(group: DeclaredInput, node: UiNode): DeclaredInput[] {
  const template = group.options['template'];
  const input = isObject(template) && isObject(template['input']) ? template['input'] : undefined;
  const [sample] = [
    ...sectionInputs(declarations(input?.['required']), undefined, true),
    ...sectionInputs(declarations(input?.['optional']), undefined, false),
  ];
  if (sample === undefined || !isWidgetInput(sample)) return [];
  return (node.inputs ?? []).flatMap(({ name, widget }) =>
    widget !== undefined && name.startsWith(`${group.name}.`) ? [{ ...sample, name }] : [],
  );
}

/** What a number widget makes of a value that another node gives it: a multiple of its step, within its range. */
export function alignToStep(declared: DeclaredInput | undefined, value: Json): Json {
  if (declared === undefined || typeof value !== 'number') return value;
  const { type, options } = declared;
  if (type === 'INT') {
    const step = numberOption(options, 'step') || 1;
    const offset = step === 1 ? 0 : (numberOption(options, 'min') ?? 0) % step;
    return Math.round((value - offset) / step) * step + offset;
  }
  if (type !== 'FLOAT') return value;
  const step = numberOption(options, 'step') ?? 0.5;
  const digits = step > 0 ? Math.min(100, Math.max(0, -Math.floor(Math.log10(step)))) : 0;
  const round = numberOption(options, 'round') || (digits === 0 ? 0 : 10 ** -digits);
  if (round === 0) return value;
  const rounded = Number((Math.round(value / round) * round).toFixed(digits));
  // Without a range of its own a number widget has that of the page: 0 to 2048.
  return Math.min(numberOption(options, 'max') ?? 2048, Math.max(numberOption(options, 'min') ?? 0, rounded));
}

function numberOption(options: JsonObject, name: string): number | undefined {
  const value = options[name];
  return typeof value === 'number' ? value : undefined;
}
