import { isTerminal, type JobEvent, type JobSnapshot, type JobStatus } from '../job.ts';

/** Remembers what one listener was told, so that every change is told once. */
export class Told {
  #status: JobStatus | undefined;
  #position: number | undefined;
  #progress = '';
  #outputs = new Set<string>();

  /** What is new in a snapshot; never the end. */
  *about(
    snapshot: Pick<JobSnapshot, 'status' | 'progress' | 'queuePosition'> & Partial<JobSnapshot>,
  ): Generator<JobEvent> {
    const { status, progress, queuePosition } = snapshot;
    if (status === 'queued' && (this.#status !== 'queued' || queuePosition !== this.#position)) {
      yield { type: 'queued', position: queuePosition };
    }
    const hasBegun = status === 'running' || (isTerminal(status) && (snapshot.outputs?.length ?? 0) > 0);
    if (hasBegun && this.#status !== 'running') {
      const coldStartMs = snapshot.timings?.coldStartMs ?? null;
      yield { type: 'starting', cold: coldStartMs === null ? undefined : coldStartMs > 0 };
    }
    this.#status = isTerminal(status) ? 'running' : status;
    this.#position = queuePosition;
    const shown = progress === undefined ? '' : JSON.stringify(progress);
    if (progress !== undefined && shown !== this.#progress) {
      this.#progress = shown;
      yield { type: 'running', progress };
    }
    for (const output of snapshot.outputs ?? []) yield* this.output(output.nodeId, output.name);
  }

  /** An output, unless it was told. */
  *output(nodeId: string, name: string): Generator<JobEvent> {
    const key = `${nodeId}/${name}`;
    if (this.#outputs.has(key)) return;
    this.#outputs.add(key);
    yield { type: 'output', output: { nodeId, name } };
  }

  /** A new attempt: everything may be told again. */
  restart(): void {
    this.#status = undefined;
    this.#position = undefined;
    this.#progress = '';
    this.#outputs.clear();
  }
}
