/** How far a run of ComfyUI is, from its messages. Pure: a sum of what was heard. */
import { isLink } from '@ryla/workflow';

import type { JobProgress } from '../job.ts';

/** The part of a prompt that progress needs; what /queue returns is not more certain than this. */
export type PromptNodes = Readonly<
  Record<string, { readonly class_type: string; readonly inputs: Readonly<Record<string, unknown>> }>
>;

/** Folds messages into progress. Cached nodes count as done; the value never falls. */
export class RunProgress {
  readonly #nodes: PromptNodes;
  readonly #needed: ReadonlySet<string>;
  readonly #done = new Set<string>();
  #current: string | undefined;
  #step: number | undefined;
  #steps: number | undefined;
  #value = 0;

  constructor(nodes: PromptNodes) {
    this.#nodes = nodes;
    this.#needed = neededNodes(nodes);
  }

  /** These nodes need not run. */
  cached(nodes: readonly string[]): void {
    for (const node of nodes) if (this.#needed.has(node)) this.#done.add(node);
  }

  /** A node starts; the one before it is done. */
  executing(node: string): void {
    if (this.#current === node) return;
    if (this.#current !== undefined) this.#done.add(this.#current);
    this.#current = node;
    this.#step = this.#steps = undefined;
  }

  /** A node reports its steps. */
  step(node: string, value: number, maximum: number): void {
    this.executing(node);
    this.#step = value;
    this.#steps = maximum;
  }

  /** A node is done. */
  finished(node: string): void {
    this.#done.add(node);
    if (this.#current !== node) return;
    this.#current = this.#step = this.#steps = undefined;
  }

  snapshot(): JobProgress {
    const total = Math.max(this.#needed.union(this.#done).size, 1);
    const share = this.#steps === undefined || this.#steps <= 0 ? 0 : (this.#step ?? 0) / this.#steps;
    const fraction = (this.#done.size + Math.min(Math.max(share, 0), 1)) / total;
    this.#value = Math.max(this.#value, Math.min(1, fraction));
    const node = this.#current;
    return {
      value: this.#value,
      nodesDone: this.#done.size,
      nodesTotal: total,
      node,
      nodeClass: node === undefined ? undefined : this.#nodes[node]?.class_type,
      step: this.#step,
      steps: this.#steps,
    };
  }
}

/** The nodes that nothing uses, and all that lead to them: what a run will touch. */
function neededNodes(nodes: PromptNodes): ReadonlySet<string> {
  const sources = new Map(
    Object.entries(nodes).map(([id, { inputs }]) => [
      id,
      Object.values(inputs).flatMap((value) => (isLink(value) ? [value[0]] : [])),
    ]),
  );
  const used = new Set([...sources.values()].flat());
  const open = [...sources.keys()].filter((id) => !used.has(id));
  const needed = new Set<string>();
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    const found = sources.get(id);
    if (found === undefined || needed.has(id)) continue;
    needed.add(id);
    open.push(...found);
  }
  return needed;
}
