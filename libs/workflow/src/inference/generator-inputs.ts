import type { DeclaredInput } from '../object-info.ts';
import type { Candidate, InputKind } from './input-kind.ts';
import { camelCase } from './input-name.ts';
import { textPlaces } from './text-roles.ts';
import type { Place, WorkflowView } from './workflow-view.ts';

/** Inputs of nodes that take a prompt and give the result, by name. Seeds are found elsewhere. */
const FIELDS: readonly (readonly [RegExp, InputKind])[] = [
  [/^(?:negative_prompt|prompt_negative)$/, 'negativePrompt'],
  [/^(?:prompt|prompt_text|text_prompt|positive_prompt)$/, 'prompt'],
  [/^(?:steps|num_inference_steps)$/, 'steps'],
  [/^(?:guidance|guidance_scale|cfg|cfg_scale|prompt_adherence)$/, 'cfg'],
  [/^(?:width|height|aspect_ratio|ratio|resolution|size|image_size|size_preset)$/, 'size'],
  [/^(?:duration|duration_seconds|seconds|length|num_frames|video_length)$/, 'length'],
  [/^(?:n|num_images|number_of_images|batch_size)$/, 'batch'],
  [/^(?:model|model_name|model_version)$/, 'model'],
  [
    /^(?:strength|weight|image_denoise|(?:[a-z]+_)*(?:image|style|reference|prompt)_(?:weight|strength)|(?:image|human)_fidelity|creativity)$/,
    'strength',
  ],
];

/** Values of a field called `quality` that mean a size: 360p, 1080p, 4k. */
const RESOLUTION = /^(?:\d{3,4}p|\d{1,2}k)$/i;

/**
 * Inputs of nodes that do everything themselves: they take a prompt and give no conditioning, or ask a partner. The
 * nodes of partners and many custom ones are like this.
 */
export function generatorCandidates(view: WorkflowView): Candidate[] {
  return view.ids.filter((id) => isGenerator(view, id)).flatMap((id) => generatorInputs(view, id));
}

function isGenerator(view: WorkflowView, id: string): boolean {
  const outputs = view.outputTypes(id);
  if (outputs.includes('CONDITIONING')) return false;
  if (writesForOthers(view, id)) return false;
  return view.isPartner(id) || takesPrompt(view, id);
}

function takesPrompt(view: WorkflowView, id: string): boolean {
  return view.declaredInputs(id).some(({ name, type }) => type === 'STRING' && kindOf({ name }) === 'prompt');
}

/** What gives nothing but text, to nodes that take a prompt, writes prompts for them. */
function writesForOthers(view: WorkflowView, id: string): boolean {
  const outputs = view.outputTypes(id);
  if (outputs.length === 0 || outputs.some((type) => type !== 'STRING')) return false;
  return !view.isOutputNode(id) && view.consumers(id).every(({ node }) => !view.isOutputNode(node));
}

function kindOf({
  name,
  values,
}: Pick<DeclaredInput, 'name'> & Partial<DeclaredInput>): InputKind | undefined {
  const isResolution = values?.some((value) => typeof value === 'string' && RESOLUTION.test(value)) === true;
  if (name === 'quality' && isResolution) return 'size';
  return FIELDS.find(([names]) => names.test(name))?.[1];
}

function generatorInputs(view: WorkflowView, id: string): Candidate[] {
  const hasMedia = view
    .links(id)
    .some(({ type }) => type === 'IMAGE' || type === 'AUDIO' || type === 'VIDEO');
  return view.declaredInputs(id).flatMap((declared) => {
    const kind = kindOf(declared);
    if (kind === undefined || !isUsable(kind, declared, hasMedia)) return [];
    const isText = kind === 'prompt' || kind === 'negativePrompt';
    const name = isText ? kind : declared.name === 'n' ? 'count' : camelCase(declared.name);
    const why = `Node ${id} (${view.classOf(id)}) takes it${takesPrompt(view, id) ? ' with its prompt' : ''}.`;
    return placesOf(view, id, declared.name, isText).map((place) => ({ kind, ...place, name, why }));
  });
}

/** Where a value is kept; of a text that other nodes put together, the texts that they do so with. */
function placesOf(view: WorkflowView, id: string, field: string, isText: boolean): Place[] {
  const place = view.placeOf(id, field);
  if (place !== undefined) return [place];
  const link = isText ? view.linkAt(id, field) : undefined;
  return link === undefined ? [] : textPlaces(view, link[0]);
}

function isUsable(kind: InputKind, { type, values }: DeclaredInput, hasMedia: boolean): boolean {
  switch (kind) {
    case 'prompt':
    case 'negativePrompt':
      return type === 'STRING';
    case 'strength':
      return type === 'FLOAT' && hasMedia;
    case 'model':
      return type === 'COMBO' && (values?.length ?? 0) > 1;
    default:
      return type === 'INT' || type === 'FLOAT' || type === 'COMBO' || type === 'STRING';
  }
}
