/** Executions of a workflow that are remembered; as many as the job store looks at. */
export const HISTORY_LENGTH = 200;

/** The quantiles that {@link ExecutionHistory.quantiles} gives: early looks, and a tail to wait for. */
export const QUANTILES = [0.1, 0.25, 0.5, 0.75, 0.9, 0.99] as const;

/** Executions below which quantiles say nothing. */
const LEAST = 5;

interface Executions {
  /** In a ring. */
  readonly last: number[];
  next: number;
  /** The same, ascending. */
  readonly sorted: number[];
}

/** How long the last executions of each workflow took. */
export class ExecutionHistory {
  readonly #workflows = new Map<string, Executions>();

  /** Adds executions, oldest first, in milliseconds. */
  record(workflow: string, ...executionMs: readonly number[]): void {
    const known = this.#workflows.get(workflow) ?? { last: [], next: 0, sorted: [] };
    this.#workflows.set(workflow, known);
    for (const milliseconds of executionMs) {
      const oldest = known.last[known.next];
      if (oldest !== undefined) known.sorted.splice(placeOf(oldest, known.sorted), 1);
      known.sorted.splice(placeOf(milliseconds, known.sorted), 0, milliseconds);
      known.last[known.next] = milliseconds;
      known.next = (known.next + 1) % HISTORY_LENGTH;
    }
  }

  /** Milliseconds at {@link QUANTILES} (nearest rank), ascending; undefined while too little is known. */
  quantiles(workflow: string): readonly number[] | undefined {
    const known = this.#workflows.get(workflow);
    if (known === undefined || known.last.length < LEAST) return undefined;
    const { sorted } = known;
    return QUANTILES.map((quantile) => sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)] ?? 0);
  }
}

/** The first place whose value is not less. */
function placeOf(value: number, sorted: readonly number[]): number {
  let from = 0;
  let to = sorted.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((sorted[middle] ?? Infinity) < value) from = middle + 1;
    else to = middle;
  }
  return from;
}
