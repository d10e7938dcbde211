import type { DeclaredInput } from '../object-info.ts';
import type { Candidate, InputKind } from './input-kind.ts';
import { camelCase } from './input-name.ts';
import type { WorkflowView } from './workflow-view.ts';

/** Inputs of nodes that take a prompt and give the result, by name. Seeds are found elsewhere. */
const FIELDS: readonly (readonly [RegExp, InputKind])[] = [
  [/^(?:negative_prompt|prompt_negative)$/, 'negativePrompt'],
  [/^(?:prompt|prompt_text|text_prompt|positive_prompt)$/, 'prompt'],
  [/^(?:steps|num_inference_steps)$/, 'steps'],
  [/^(?:guidance|guidance_scale|cfg|cfg_scale)$/, 'cfg'],
  [/^(?:width|height|aspect_ratio|ratio|resolution|size|image_size)$/, 'size'],
  [/^(?:duration|seconds|length|num_frames|video_length)$/, 'length'],
  [/^(?:n|num_images|number_of_images|batch_size)$/, 'batch'],
  [/^(?:model|model_name|model_version)$/, 'model'],
  [/^(?:strength|image_weight|image_strength|style_strength|image_prompt_strength)$/, 'strength'],
];

/**
 * Inputs of nodes that do everything themselves: they take a prompt and give no conditioning. The nodes of partners
 * and many custom ones are like this.
 */
export function generatorCandidates(view: WorkflowView): Candidate[] {
  return view.ids.filter((id) => isGenerator(view, id)).flatMap((id) => generatorInputs(view, id));
}

function isGenerator(view: WorkflowView, id: string): boolean {
  const outputs = view.outputTypes(id);
  // What gives nothing but text writes prompts for others.
  if (outputs.includes('CONDITIONING') || (outputs.length > 0 && outputs.every((type) => type === 'STRING')))
    return false;
  return view.declaredInputs(id).some(({ name, type }) => type === 'STRING' && kindOf(name) === 'prompt');
}

function kindOf(field: string): InputKind | undefined {
  return FIELDS.find(([names]) => names.test(field))?.[1];
}

function generatorInputs(view: WorkflowView, id: string): Candidate[] {
  const hasImage = view.links(id).some(({ type }) => type === 'IMAGE');
  return view.declaredInputs(id).flatMap((declared) => {
    const kind = kindOf(declared.name);
    if (kind === undefined || !isUsable(kind, declared, hasImage)) return [];
    const place = view.placeOf(id, declared.name);
    if (place === undefined) return [];
    const isText = kind === 'prompt' || kind === 'negativePrompt';
    const name = isText ? kind : declared.name === 'n' ? 'count' : camelCase(declared.name);
    return [{ kind, ...place, name, why: `Node ${id} (${view.classOf(id)}) takes it with its prompt.` }];
  });
}

function isUsable(kind: InputKind, { type, values }: DeclaredInput, hasImage: boolean): boolean {
  switch (kind) {
    case 'prompt':
    case 'negativePrompt':
      return type === 'STRING';
    case 'strength':
      return type === 'FLOAT' && hasImage;
    case 'model':
      return type === 'COMBO' && (values?.length ?? 0) > 1;
    default:
      return type === 'INT' || type === 'FLOAT' || type === 'COMBO' || type === 'STRING';
  }
}
