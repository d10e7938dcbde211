/** A worker's log, which RunPod sends as server-sent events: lines of the past, then each new one. */
import { z } from 'zod';

import { RunPodManagementError } from './runpod-error.ts';

/** Most lines of the past that RunPod gives (its document of 2026-11-24). */
export const MOST_LOG_LINES = 5_000;

/** Milliseconds without a line after which the past counts as read: RunPod does not mark where it ends. */
export const QUIET_MS = 2_000;

/** How often a stream is opened again without a new line in between. */
const EMPTY_RECONNECTS = 5;

const event = z.object({ source: z.string(), line: z.string(), ts: z.string() });

/** One line of a worker. */
export interface WorkerLogLine {
  /** `container`: what the worker printed; `system`: what the machine says of it. */
  readonly source: string;
  readonly line: string;
  /** When, ISO 8601. */
  readonly at: string;
}

/** Options of a worker's log. */
export interface WorkerLogOptions {
  readonly signal?: AbortSignal;
  /** Lines of the past, up to {@link MOST_LOG_LINES}; 100 without it. Not looked at beside `since`. */
  readonly tail?: number;
  readonly since?: Date;
  readonly source?: 'container' | 'system';
  /** Whether to wait for new lines until the worker has ended; false without it. */
  readonly follow?: boolean;
  /** {@link QUIET_MS} without it. */
  readonly quietMs?: number;
}

/** What a stream is opened with. */
export interface LogRequest {
  readonly query: Readonly<Record<string, string | undefined>>;
  /** Id of the last event that was read. */
  readonly lastEventId: string | undefined;
  readonly signal: AbortSignal;
}

/** How the log is reached. */
export interface LogSource {
  open(request: LogRequest): Promise<AsyncIterable<Buffer>>;
  /** Waits before the stream is opened again. */
  pause(attempt: number, signal: AbortSignal): Promise<void>;
}

/**
 * The lines of a worker, in order, each once. A connection that breaks is opened again where it broke.
 *
 * @throws {RunPodManagementError} `not_found` for a worker that is not active.
 */
export async function* readWorkerLog(
  source: LogSource,
  options: WorkerLogOptions = {},
): AsyncGenerator<WorkerLogLine> {
  const signal = options.signal ?? new AbortController().signal;
  const seen = new SeenLines();
  for (let empty = 1; empty <= EMPTY_RECONNECTS; empty += 1) {
    const before = seen.count;
    try {
      for await (const line of oneConnection(source, seen.lastId, signal, options))
        if (seen.isNew(line)) yield line;
      if (options.follow !== true) return;
    } catch (error) {
      // A worker that was there has ended since.
      if (before > 0 && isError(error, 'not_found')) return;
      if (!RunPodManagementError.isInstance(error) || !error.retryable || empty === EMPTY_RECONNECTS)
        throw error;
    }
    if (seen.count > before) empty = 0;
    seen.connectionEnded();
    await source.pause(Math.max(empty, 1), signal);
  }
}

/** The lines of one connection, until it ends; without `follow`, until nothing has come for a while. */
async function* oneConnection(
  source: LogSource,
  lastEventId: string | undefined,
  signal: AbortSignal,
  { since, tail, source: only, follow = false, quietMs = QUIET_MS }: WorkerLogOptions,
): AsyncGenerator<WorkerLogLine> {
  const query = {
    source: only,
    since: since?.toISOString(),
    tail: since === undefined ? tail?.toString() : undefined,
  };
  const ended = new AbortController();
  const chunks = await source.open({ query, lastEventId, signal: AbortSignal.any([signal, ended.signal]) });
  const quiet = follow ? undefined : setTimeout(() => ended.abort(QUIET), quietMs);
  try {
    for await (const line of linesOf(chunks)) {
      quiet?.refresh();
      yield line;
    }
  } catch (error) {
    if (signal.aborted || error !== QUIET) throw error;
  } finally {
    clearTimeout(quiet);
    ended.abort(QUIET);
  }
}

const QUIET = new Error('Nothing was said for a while.');

/** A stream that goes on from an event begins with that event's moment, whose lines may be known. */
class SeenLines {
  count = 0;
  lastId: string | undefined;
  #known = new Map<string, number>();
  #repeats = new Map<string, number>();

  isNew(line: WorkerLogLine): boolean {
    if (line.at !== this.lastId) {
      this.lastId = line.at;
      this.#known = new Map();
      this.#repeats = new Map();
    }
    const key = `${line.source} ${line.line}`;
    const repeats = this.#repeats.get(key) ?? 0;
    if (repeats > 0) {
      this.#repeats.set(key, repeats - 1);
      return false;
    }
    this.#known.set(key, (this.#known.get(key) ?? 0) + 1);
    this.count += 1;
    return true;
  }

  connectionEnded(): void {
    this.#repeats = new Map(this.#known);
  }
}

async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<WorkerLogLine> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split(/\r?\n/);
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('data:')) yield parsed(line.slice('data:'.length));
  }
}

function parsed(text: string): WorkerLogLine {
  const found = event.safeParse(jsonOf(text));
  if (found.success) return { source: found.data.source, line: found.data.line, at: found.data.ts };
  throw new RunPodManagementError(
    'invalid_response',
    "A line of RunPod's log is not what its document says.",
    {
      operation: 'getWorkerLogs',
    },
  );
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isError(error: unknown, code: string): boolean {
  return RunPodManagementError.isInstance(error) && error.code === code;
}
