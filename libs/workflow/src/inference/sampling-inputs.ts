import { isModelFile } from '../inventory/model-files.ts';
import type { Candidate } from './input-kind.ts';
import { camelCase } from './input-name.ts';
import type { WorkflowView } from './workflow-view.ts';

/** Seeds of everything that runs, except of a sampler that adds no noise. */
export function seedCandidates(view: WorkflowView): Candidate[] {
  return view.ids.flatMap((id) => {
    if (addsNoNoise(view, id)) return [];
    return view.declaredInputs(id).flatMap(({ name: field, type }) => {
      if (type !== 'INT' || !/(?:^|_)seed$/i.test(field)) return [];
      const place = view.placeOf(id, field);
      if (place === undefined) return [];
      const name = field === 'noise_seed' ? 'seed' : camelCase(field);
      return [
        { kind: 'seed' as const, ...place, name, why: `It is the seed of node ${id} (${view.classOf(id)}).` },
      ];
    });
  });
}

function addsNoNoise(view: WorkflowView, id: string): boolean {
  const value = view.constant(id, 'add_noise');
  return value === 'disable' || value === false;
}

/** Steps of samplers and schedulers, where the number stands alone. */
export function stepCandidates(view: WorkflowView): Candidate[] {
  return view.ids.flatMap((id) => {
    if (view.declared(id, 'steps')?.type !== 'INT') return [];
    const isScheduler = view.outputTypes(id).includes('SIGMAS');
    if (!isScheduler && !isSampler(view, id)) return [];
    if (isPartOfSampling(view, id) || (isScheduler && !feedsNoisySampler(view, id))) return [];
    const place = view.placeOf(id, 'steps');
    if (place === undefined) return [];
    const why = `It is the number of steps of node ${id} (${view.classOf(id)}).`;
    return [{ kind: 'steps' as const, ...place, name: 'steps', why }];
  });
}

/** One of several samplers that share the steps: their number goes with where each begins and ends. */
function isPartOfSampling(view: WorkflowView, id: string): boolean {
  const start = view.constant(id, 'start_at_step');
  const end = view.constant(id, 'end_at_step');
  const steps = view.constant(id, 'steps');
  const startsLate = typeof start === 'number' && start > 0;
  return startsLate || (typeof end === 'number' && typeof steps === 'number' && end < steps);
}

/** Whether sigmas reach a sampler that starts from noise, and are not cut in parts on the way. */
function feedsNoisySampler(view: WorkflowView, id: string): boolean {
  const pending = [id];
  const seen = new Set<string>();
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    for (const { node: user, output } of view.consumers(node)) {
      if (view.outputTypes(node)[output] !== 'SIGMAS') continue;
      if (/^Split/.test(view.classOf(user))) return false;
      if (view.outputTypes(user).includes('SIGMAS')) pending.push(user);
      else if (!isNoiseless(view, user)) return true;
    }
  }
  return false;
}

function isNoiseless(view: WorkflowView, sampler: string): boolean {
  const noise = view.linkAt(sampler, 'noise');
  return noise !== undefined && view.classOf(noise[0]) === 'DisableNoise';
}

/** A node that turns conditioning into something else: a sampler or a guider. */
export function isSampler(view: WorkflowView, id: string): boolean {
  const isFed = view.links(id).some(({ type }) => type === 'CONDITIONING' || type === 'GUIDER');
  return isFed && !view.outputTypes(id).includes('CONDITIONING');
}

/** cfg of samplers and guiders where it is not 1, and the guidance of distilled models on the way of a prompt. */
export function cfgCandidates(view: WorkflowView, positivePath: ReadonlySet<string>): Candidate[] {
  const ignoresGuidance = hasModel(view, IGNORES_GUIDANCE);
  return view.ids.flatMap((id) => {
    const field = (name: string, why: string) => {
      const place = view.placeOf(id, name);
      const value = place === undefined ? undefined : view.valueAt(place);
      if (place === undefined || typeof value !== 'number' || value === 1) return [];
      return [{ kind: 'cfg' as const, ...place, name: camelCase(name), why }];
    };
    const names = view.declaredInputs(id).filter(({ type }) => type === 'FLOAT');
    return names.flatMap(({ name }) => {
      if (isSampler(view, id) && /^cfg(?:\d|_|$)/.test(name))
        return field(
          name,
          `It is how closely node ${id} (${view.classOf(id)}) keeps to the prompt; 1 would switch it off.`,
        );
      if (positivePath.has(id) && name === 'guidance' && !ignoresGuidance)
        return field(name, `It is the guidance that node ${id} (${view.classOf(id)}) gives the prompt.`);
      return [];
    });
  });
}

/** Models that take no guidance, although the nodes for their family offer it (the model card of FLUX.1 schnell). */
const IGNORES_GUIDANCE = /schnell/i;

function hasModel(view: WorkflowView, name: RegExp): boolean {
  return view.ids.some((id) =>
    Object.values(view.node(id).inputs).some((value) => isModelFile(value) && name.test(value)),
  );
}
