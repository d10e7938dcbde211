import type { Candidate } from './input-kind.ts';
import { camelCase } from './input-name.ts';
import { isSampler } from './sampling-inputs.ts';
import type { WorkflowView } from './workflow-view.ts';

/** Names of inputs that say how much of something else there is. */
const STRENGTH_FIELDS = /^(?:strength|weight|[a-z]+(?:_[a-z]+)*_(?:strength|weight))$/;

/** LoRAs that make a model quick: their strength belongs to the workflow, not to a request. */
const ACCELERATION =
  /lightning|lightx2v|turbo|hyper|lcm|causvid|accvid|distill|dmd|tcd|fastwan|\d+[_ -]?steps?\b|slg|self[_-]?forcing/i;

/** What a strength is the strength of, by the type of the link beside it. */
const GUIDES: Readonly<Record<string, string>> = {
  CONTROL_NET: 'controlnetStrength',
  STYLE_MODEL: 'styleStrength',
  CLIP_VISION_OUTPUT: 'imageStrength',
  MODEL_PATCH: 'controlStrength',
  IMAGE: 'strength',
  GLIGEN: 'strength',
  IPADAPTER: 'imageStrength',
  LUMA_REF: 'referenceWeight',
};

/** How much a picture, a ControlNet, a style or a LoRA counts, and how much of a given picture is made anew. */
export function strengthCandidates(view: WorkflowView, positivePath: ReadonlySet<string>): Candidate[] {
  return view.ids.flatMap((id) => [
    ...loraStrength(view, id),
    ...guideStrengths(view, id, positivePath),
    ...denoise(view, id),
  ]);
}

function guideStrengths(view: WorkflowView, id: string, positivePath: ReadonlySet<string>): Candidate[] {
  const outputs = view.outputTypes(id);
  if (!outputs.includes('CONDITIONING') && !outputs.includes('MODEL')) return [];
  const guide = view.links(id).find(({ type }) => Object.hasOwn(GUIDES, type));
  return view.declaredInputs(id).flatMap(({ name: field, type }) => {
    if (type !== 'FLOAT' || !STRENGTH_FIELDS.test(field) || /^strength_/.test(field)) return [];
    // Without anything to weigh there is only the text: its parts may have weights of their own (lyrics_strength).
    if (guide === undefined && !(positivePath.has(id) && field !== 'strength')) return [];
    const place = view.placeOf(id, field);
    if (place === undefined) return [];
    const name =
      field === 'strength' && guide !== undefined ? (GUIDES[guide.type] ?? 'strength') : camelCase(field);
    const what = guide === undefined ? 'a part of the text' : `its ${guide.input}`;
    return [
      {
        kind: 'strength' as const,
        ...place,
        name,
        why: `Node ${id} (${view.classOf(id)}) weighs ${what} with it.`,
      },
    ];
  });
}

function loraStrength(view: WorkflowView, id: string): Candidate[] {
  const file = view.constant(id, 'lora_name');
  if (typeof file !== 'string' || ACCELERATION.test(file)) return [];
  return ['strength_model', 'strength_clip'].flatMap((field) => {
    const place = view.placeOf(id, field);
    const value = place === undefined ? undefined : view.valueAt(place);
    if (place === undefined || typeof value !== 'number') return [];
    // Both are one thing to a caller, unless the author made them differ.
    if (field === 'strength_clip' && value !== view.constant(id, 'strength_model')) return [];
    const why = `Node ${id} (${view.classOf(id)}) applies the LoRA ${file} with it.`;
    return [{ kind: 'strength' as const, ...place, name: 'loraStrength', why }];
  });
}

/** A sampler that makes only a part anew starts from something that is given. */
function denoise(view: WorkflowView, id: string): Candidate[] {
  const value = view.constant(id, 'denoise');
  const isSampling = isSampler(view, id) || view.outputTypes(id).includes('SIGMAS');
  if (typeof value !== 'number' || value <= 0 || value >= 1 || !isSampling) return [];
  const why = `Node ${id} (${view.classOf(id)}) makes only this part anew.`;
  return [{ kind: 'strength', node: id, field: 'denoise', name: 'denoise', why }];
}
