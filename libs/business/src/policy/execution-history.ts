/** Executions of a workflow that are remembered; as many as the job store looks at. */
export const HISTORY_LENGTH = 200;

/** The quantiles that {@link ExecutionHistory.quantiles} gives: early looks, and a tail to wait for. */
export const QUANTILES = [0.1, 0.25, 0.5, 0.75, 0.9, 0.99] as const;

/** Executions below which quantiles say nothing. */
const LEAST = 5;

interface Executions {
  readonly last: number[];
  next: number;
  quantiles: readonly number[] | undefined;
}

/** How long the last executions of each workflow took. */
export class ExecutionHistory {
  readonly #workflows = new Map<string, Executions>();

  /** Adds executions, oldest first, in milliseconds. */
  record(workflow: string, ...executionMs: readonly number[]): void {
    const known = this.#workflows.get(workflow) ?? { last: [], next: 0, quantiles: undefined };
    this.#workflows.set(workflow, known);
    for (const milliseconds of executionMs) {
      known.last[known.next] = milliseconds;
      known.next = (known.next + 1) % HISTORY_LENGTH;
    }
    known.quantiles = undefined;
  }

  /** Milliseconds at {@link QUANTILES} (nearest rank), ascending; undefined while too little is known. */
  quantiles(workflow: string): readonly number[] | undefined {
    const known = this.#workflows.get(workflow);
    if (known === undefined || known.last.length < LEAST) return undefined;
    known.quantiles ??= nearestRanks(known.last);
    return known.quantiles;
  }
}

function nearestRanks(values: readonly number[]): readonly number[] {
  const sorted = values.toSorted((a, b) => a - b);
  return QUANTILES.map((quantile) => sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)] ?? 0);
}
