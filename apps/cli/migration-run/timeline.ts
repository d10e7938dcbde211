/** When what happened in a run, for the table at its end and for its progress. */

/** A line of the table. */
export interface Moment {
  /** Seconds since the run began. */
  readonly at: number;
  readonly step: string;
  readonly what: string;
}

/** Keeps moments, and tells of each at once. */
export class Timeline {
  readonly moments: Moment[] = [];
  readonly #begun = performance.now();
  readonly #tell: (line: string) => void;

  /** @param tell hears each line. */
  constructor(tell: (line: string) => void) {
    this.#tell = tell;
  }

  /** Seconds since the run began. */
  get seconds(): number {
    return (performance.now() - this.#begun) / 1000;
  }

  /** Something happened. */
  note(step: string, what: string): void {
    this.moments.push({ at: this.seconds, step, what });
    this.#tell(`${this.seconds.toFixed(0).padStart(5)} s  ${step.padEnd(16)}  ${what}`);
  }
}
