import type { ApiWorkflow } from '../api-workflow.ts';
import type { EndpointInput } from '../endpoint-config.ts';
import type { ObjectInfo } from '../object-info.ts';
import { type BrokenValue, brokenValues } from './broken-values.ts';
import { generatorCandidates } from './generator-inputs.ts';
import type { Candidate, InputKind } from './input-kind.ts';
import { camelCase, NameList } from './input-name.ts';
import { readMarkers } from './marker.ts';
import { mediaCandidates } from './media-inputs.ts';
import { modelCandidates } from './model-inputs.ts';
import { cfgCandidates, seedCandidates, stepCandidates } from './sampling-inputs.ts';
import { marginCandidates, sizeCandidates } from './size-inputs.ts';
import { strengthCandidates } from './strength-inputs.ts';
import { textCandidates } from './text-roles.ts';
import { typedInput } from './typed-input.ts';
import { type Place, WorkflowView } from './workflow-view.ts';

/** An input that a caller would want to set, as endpoint.json has it, and why. */
export interface InferredInput {
  readonly name: string;
  readonly kind: InputKind;
  readonly input: EndpointInput;
  /** One sentence: by what rule it was found. */
  readonly why: string;
}

/** Options of {@link inferInputs}. */
export interface InferOptions {
  /**
   * Whether the files of the main model, its LoRAs and ControlNets are inputs too, where the object_info lists more
   * than one. Off without it: an endpoint has only the models that its endpoint.json names.
   */
  readonly modelFiles?: boolean;
}

/** The order in which inputs are listed. */
const ORDER: readonly InputKind[] = [
  ...(['prompt', 'negativePrompt', 'image', 'mask', 'video', 'audio', 'size', 'length', 'batch'] as const),
  ...(['seed', 'steps', 'cfg', 'strength', 'model', 'marked'] as const),
];

/** Kinds of which equal values at several places are one input. */
const MERGED = new Set<InputKind>([
  'prompt',
  'negativePrompt',
  'steps',
  'cfg',
  'size',
  'length',
  'batch',
  'image',
  'mask',
  'video',
  'audio',
]);

/**
 * The inputs that a caller of a workflow would want to set: from the markers in node titles first, then by the roles
 * of the nodes. Nodes that no output depends on are left out.
 *
 * @throws {WorkflowError} `invalid_marker` for a marker in a title that cannot be followed.
 */
export function inferInputs(
  workflow: ApiWorkflow,
  objectInfo: ObjectInfo,
  options: InferOptions = {},
): InferredInput[] {
  const view = new WorkflowView(workflow, objectInfo);
  const broken = new Set(brokenValues(view).map(placeKey));
  const markers = readMarkers(view);
  const { candidates: texts, positivePath } = textCandidates(view);
  const found = [
    ...texts,
    ...generatorCandidates(view),
    ...mediaCandidates(view),
    ...sizeCandidates(view),
    ...marginCandidates(view),
    ...seedCandidates(view),
    ...stepCandidates(view),
    ...cfgCandidates(view, positivePath),
    ...strengthCandidates(view, positivePath),
    ...(options.modelFiles === true ? modelCandidates(view) : []),
  ].filter(
    (candidate) =>
      !markers.closed.has(candidate.node) &&
      !broken.has(placeKey(candidate)) &&
      !hasOneValue(view, candidate),
  );
  const names = new NameList();
  const marked = markers.inputs.map((group) => ({
    group,
    required: group.some(({ required }) => required),
  }));
  const groups = grouped(view, distinct(found)).map((group) => ({ group, required: false }));
  groups.sort((left, right) => rank(left.group) - rank(right.group));
  const numbered = countNames(groups.map(({ group }) => group));
  return [...marked, ...groups].flatMap(({ group, required }) => {
    const [first, ...rest] = group;
    if (first === undefined) return [];
    const name = names.take(...wishes(view, first, (numbered.get(first.name) ?? 0) > 1));
    return [{ name, kind: first.kind, input: typedInput(view, first, rest, required), why: first.why }];
  });
}

/**
 * Values that are no inputs because the file holds something else there than the class declares, each with the reason:
 * to be told to whoever asks for the inputs.
 */
export function brokenInputs(workflow: ApiWorkflow, objectInfo: ObjectInfo): BrokenValue[] {
  return brokenValues(new WorkflowView(workflow, objectInfo));
}

/** The `inputs` of an endpoint.json. */
export function endpointInputs(inferred: readonly InferredInput[]): Record<string, EndpointInput> {
  return Object.fromEntries(inferred.map(({ name, input }) => [name, input]));
}

function rank([first]: readonly Candidate[]): number {
  return first === undefined ? 0 : ORDER.indexOf(first.kind);
}

/** Whether its class takes nothing else than what is there: `1080p` of a model that makes nothing else. */
function hasOneValue(view: WorkflowView, { node, field }: Candidate): boolean {
  const declared = view.declared(node, field);
  if (declared === undefined || declared.type === 'STRING') return false;
  const { min, max, image_upload, video_upload, audio_upload } = declared.options;
  if (typeof min === 'number' && min === max) return true;
  const isFile = [image_upload, video_upload, audio_upload].includes(true);
  const [only, another] = declared.values ?? [];
  return !isFile && only !== undefined && another === undefined && only === view.constant(node, field);
}

/** Each place once: the first rule that found it counts. */
function distinct(candidates: readonly Candidate[]): Candidate[] {
  const byPlace = new Map<string, Candidate>();
  for (const candidate of candidates) {
    const key = placeKey(candidate);
    if (!byPlace.has(key)) byPlace.set(key, candidate);
  }
  return [...byPlace.values()];
}

function placeKey({ node, field }: Place): string {
  return `${node}\n${field}`;
}

/** Places that get one value together. */
function grouped(view: WorkflowView, candidates: readonly Candidate[]): Candidate[][] {
  const groups = new Map<string, Candidate[]>();
  for (const candidate of candidates) {
    const key = groupKey(view, candidate);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [candidate]);
    else group.push(candidate);
  }
  return [...groups.values()];
}

function groupKey(view: WorkflowView, { kind, node, field, name }: Candidate): string {
  const value = view.valueAt({ node, field });
  if (kind === 'strength' && name === 'loraStrength') return `lora\n${node}`;
  if (!MERGED.has(kind) || value === '' || value === undefined) return placeKey({ node, field });
  return `${kind}\n${name}\n${JSON.stringify(value)}`;
}

function countNames(groups: readonly (readonly Candidate[])[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const [first] of groups) {
    if (first !== undefined) counts.set(first.name, (counts.get(first.name) ?? 0) + 1);
  }
  return counts;
}

/** Names for an input, best first: among several of one name, the title of its node tells them apart, then its field. */
function wishes(view: WorkflowView, { node, field, name }: Candidate, isOneOfSeveral: boolean): string[] {
  const title = camelCase(view.titleOf(node) ?? '');
  const isTelling = isOneOfSeveral && title !== '' && title.length <= 24;
  const isText = name === 'prompt' || name === 'negativePrompt';
  const byField =
    isText && !/^(?:value|text|prompt|string)$/.test(field) ? [camelCase(`${name} ${field}`)] : [];
  return isTelling ? [title, name, ...byField] : [name, ...byField];
}
