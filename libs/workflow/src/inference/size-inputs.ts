import { ancestorsOf } from '../graph-queries.ts';
import type { Candidate } from './input-kind.ts';
import { camelCase } from './input-name.ts';
import { isSampler } from './sampling-inputs.ts';
import type { TypedLink, WorkflowView } from './workflow-view.ts';

/** Names of inputs that set how large a picture is. */
const SIZE_FIELDS =
  /^(?:width|height|megapixels|largest_size|longer_(?:edge|side)|shorter_(?:edge|side)|resolution)$/;

/** Names of inputs that set how long a video or sound is. */
const LENGTH_FIELDS = /^(?:length|frames|num_frames|frame_count|video_frames|seconds|duration)$/;

/** Size, length and batch: the first that is met on the way from a sampler's latent back to where it comes from. */
export function sizeCandidates(view: WorkflowView): Candidate[] {
  const found: Candidate[] = [];
  const seen = new Set<string>();
  const isLatentSampler = (id: string) =>
    isSampler(view, id) && view.links(id).some(({ type }) => type === 'LATENT');
  for (const sampler of view.ids.filter(isLatentSampler)) {
    const pending = view.links(sampler).filter(({ type }) => type === 'LATENT');
    for (let link = pending.pop(); link !== undefined; link = pending.pop()) {
      const { source } = link;
      if (seen.has(source)) continue;
      seen.add(source);
      const { candidates, isEnd } = sizesOf(view, link, sampler);
      found.push(...candidates);
      if (!isEnd) pending.push(...view.links(source).filter(carriesSize).reverse());
    }
  }
  return [...found, ...modelSizes(view, found)];
}

function carriesSize({ input, type }: TypedLink): boolean {
  return type === 'LATENT' || type === 'IMAGE' || (type === 'INT' && SIZE_FIELDS.test(input));
}

function sizesOf(
  view: WorkflowView,
  { source: id, type }: TypedLink,
  sampler: string,
): { candidates: Candidate[]; isEnd: boolean } {
  const why = `Node ${id} (${view.classOf(id)}) makes what node ${sampler} (${view.classOf(sampler)}) starts from.`;
  const candidates: Candidate[] = [];
  const fields = view.declaredInputs(id).map(({ name }) => name);
  const outputs = view.outputTypes(id);
  const add = (kind: Candidate['kind'], field: string) => {
    const place = view.placeOf(id, field);
    if (place !== undefined) candidates.push({ kind, ...place, name: camelCase(field), why });
  };
  // Of a node that is reached by a number, the numbers are of a picture too.
  if (outputs.includes('LATENT') || outputs.includes('IMAGE') || type === 'INT') {
    const isPicture = fields.some((field) => field === 'width' || field === 'megapixels');
    for (const field of fields) {
      if (LENGTH_FIELDS.test(field)) add('length', field);
      else if (SIZE_FIELDS.test(field) && (isPicture || outputs.includes('IMAGE'))) add('size', field);
    }
    const isVideo = fields.some((field) => LENGTH_FIELDS.test(field));
    if (isPicture && !isVideo && outputs.includes('LATENT') && fields.includes('batch_size'))
      add('batch', 'batch_size');
  }
  return { candidates, isEnd: candidates.some(({ kind }) => kind === 'size' || kind === 'length') };
}

/** Models that are told the picture's size (ModelSamplingFlux) must be told the same. */
function modelSizes(view: WorkflowView, found: readonly Candidate[]): Candidate[] {
  return view.ids.flatMap((id) => {
    if (!view.outputTypes(id).includes('MODEL')) return [];
    return ['width', 'height'].flatMap((field) => {
      const value = view.constant(id, field);
      const same = found.some((size) => size.name === field && view.valueAt(size) === value);
      if (value === undefined || !same) return [];
      const why = `Node ${id} (${view.classOf(id)}) must be told the size of the picture.`;
      return [{ kind: 'size' as const, node: id, field, name: field, why }];
    });
  });
}

const MARGINS = ['left', 'top', 'right', 'bottom'] as const;

/** How far a picture is enlarged on each side, for nodes that have all four, where something then fills the margins. */
export function marginCandidates(view: WorkflowView): Candidate[] {
  const painters = view.ids.filter((id) => view.isPartner(id) || isSampler(view, id));
  const painted = ancestorsOf(view.workflow, painters);
  return view.ids.flatMap((id) => {
    if (!MARGINS.every((field) => view.declared(id, field)?.type === 'INT') || !painted.has(id)) return [];
    return MARGINS.flatMap((field) => {
      const place = view.placeOf(id, field);
      const why = `Node ${id} (${view.classOf(id)}) enlarges the picture by it on this side.`;
      return place === undefined ? [] : [{ kind: 'size' as const, ...place, name: field, why }];
    });
  });
}
