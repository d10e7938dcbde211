import type { Json } from '../json-value.ts';
import type { Candidate } from './input-kind.ts';
import { camelCase } from './input-name.ts';
import type { Place, WorkflowView } from './workflow-view.ts';

type Role = 'prompt' | 'negativePrompt';

/** Names of text inputs that say nothing beyond "the text". */
const PLAIN_FIELDS =
  /^(?:value|text\d?|string(?:_[a-z])?|prompt|prompt_text|text_prompt|user_prompt|positive(?:_prompt)?|negative(?:_prompt)?|text_[gl]|clip_[gl]|t5xxl|llama|bert|mt5xl|description)$/i;

/** Text inputs of nodes that put texts together, and that are not a text themselves. */
const NOT_TEXT =
  /^(?:delimiter|separator|find|pattern|regex.*|filename.*|mode|tracks|.*(?:json|coordinates|points))$/i;

/** What models are told about themselves: part of the workflow, not of a request. */
const SYSTEM_TEXT = /^\s*you are an? (?:assistant|expert|helpful)/i;

/** Result of {@link textCandidates}. */
export interface TextRoles {
  readonly candidates: readonly Candidate[];
  /** Nodes that conditioning passes on its way from a text to a sampler's positive side. */
  readonly positivePath: ReadonlySet<string>;
}

/**
 * The prompts of a workflow, by following the links from each sampler or guider back to the texts. What only the
 * negative side uses is a negative prompt, but none at all where the sampler's cfg is 1: it has no effect then.
 */
export function textCandidates(view: WorkflowView): TextRoles {
  const walk = new RoleWalk(view);
  const roots = view.ids.filter((id) => isConditioned(view, id) && !outputsConditioning(view, id));
  for (const id of roots) {
    for (const { input, source, output, type } of view.links(id)) {
      if (type === 'CONDITIONING' && sideOf(input) === 'prompt') walk.follow(source, output, 'prompt', id);
    }
  }
  for (const id of roots) {
    if (cfgOf(view, id) === 1) continue;
    for (const { input, source, output, type } of view.links(id)) {
      if (type === 'CONDITIONING' && sideOf(input) === 'negativePrompt')
        walk.follow(source, output, 'negativePrompt', id);
    }
  }
  return { candidates: walk.candidates, positivePath: walk.positivePath };
}

/** A sampler's cfg, also where another node holds it. */
function cfgOf(view: WorkflowView, id: string): Json | undefined {
  const place = view.placeOf(id, 'cfg');
  return place === undefined ? undefined : view.valueAt(place);
}

function isConditioned(view: WorkflowView, id: string): boolean {
  return view.links(id).some(({ type }) => type === 'CONDITIONING');
}

function outputsConditioning(view: WorkflowView, id: string): boolean {
  return view.outputTypes(id).includes('CONDITIONING');
}

/** The side of a sampler that an input is; `undefined` for what is neither, such as the second pair of DualCFGGuider. */
function sideOf(input: string): Role | undefined {
  if (/^(?:cond2|empty|uncond_empty)/i.test(input)) return undefined;
  return /neg|uncond/i.test(input) ? 'negativePrompt' : 'prompt';
}

class RoleWalk {
  readonly candidates: Candidate[] = [];
  readonly positivePath = new Set<string>();
  readonly #view: WorkflowView;
  readonly #seen = new Set<string>();
  readonly #taken = new Set<string>();

  constructor(view: WorkflowView) {
    this.#view = view;
  }

  follow(start: string, startOutput: number, role: Role, sampler: string): void {
    const pending: [id: string, output: number][] = [[start, startOutput]];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const [id, output] = next;
      const key = `${id}\n${output}\n${role}`;
      if (this.#seen.has(key)) continue;
      this.#seen.add(key);
      // What comes out of it is nothing, whatever text went in.
      if (/zero_?out/i.test(this.#view.classOf(id))) continue;
      if (role === 'prompt') this.positivePath.add(id);
      this.#addTexts(id, role, sampler);
      const passes = this.#view.links(id).filter(({ type }) => type === 'CONDITIONING');
      const hasSides = passes.some(({ input }) => sideOf(input) === 'negativePrompt');
      const wanted = hasSides ? sideOf(this.#view.outputName(id, output) || role) : undefined;
      for (const { input, source, output: from } of passes) {
        if (wanted === undefined || sideOf(input) === wanted) pending.push([source, from]);
      }
    }
  }

  #addTexts(id: string, role: Role, sampler: string): void {
    const side = role === 'prompt' ? 'positive' : 'negative';
    const end = `the ${side} side of node ${sampler} (${this.#view.classOf(sampler)})`;
    for (const place of textPlaces(this.#view, id)) {
      const key = `${place.node}\n${place.field}`;
      if (this.#taken.has(key)) continue;
      this.#taken.add(key);
      const name = PLAIN_FIELDS.test(place.field) ? role : camelCase(place.field);
      const why = `Its text reaches ${end}${role === 'negativePrompt' ? ', whose cfg is not 1' : ''}.`;
      this.candidates.push({ kind: role, ...place, name, why });
    }
  }
}

/** The texts that a node encodes, in itself or in the nodes that put them together. */
export function textPlaces(view: WorkflowView, id: string): Place[] {
  const places: Place[] = [];
  const seen = new Set<string>();
  const pending: string[] = [id];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    const texts = view
      .declaredInputs(node)
      .filter(({ type, name }) => type === 'STRING' && !NOT_TEXT.test(name))
      .map(({ name }) => name);
    const linked = texts.flatMap((field) => view.linkAt(node, field)?.[0] ?? []);
    // Where some texts come from nodes of their own, what is written in place is decoration.
    const here =
      linked.length > 0 ? [] : texts.filter((field) => typeof view.constant(node, field) === 'string');
    places.push(...here.map((field) => ({ node, field })));
    pending.push(...linked.reverse());
  }
  return withoutSystemTexts(view, places);
}

function withoutSystemTexts(view: WorkflowView, places: readonly Place[]): Place[] {
  if (places.length < 2) return [...places];
  const isSystem = (place: Place) => SYSTEM_TEXT.test(JSON.stringify(view.valueAt(place) ?? '').slice(1));
  const rest = places.filter((place) => !isSystem(place));
  return rest.filter(
    ({ node, field }) =>
      !/template|system/i.test(field + (rest.length > 1 ? (view.titleOf(node) ?? '') : '')),
  );
}
