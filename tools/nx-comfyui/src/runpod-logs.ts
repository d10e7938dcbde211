/** What an endpoint's workers print on RunPod. */
import {
  MOST_LOG_LINES,
  type RunPodManagement,
  RunPodManagementError,
  type WorkerLogLine,
  type WorkerLogOptions,
} from '@ryla/runpod-management';
import { setTimeout as sleepFor } from 'node:timers/promises';
import { parseArgs } from 'node:util';

/** Which lines are wanted. */
export interface LogsOptions {
  readonly follow: boolean;
  readonly timestamps: boolean;
  /** Lines of each worker. */
  readonly tail: number;
  readonly since: Date | undefined;
  readonly source: 'container' | 'system' | undefined;
  /** Id of the one worker that is wanted. */
  readonly worker: string | undefined;
  /** Text that lines must have. */
  readonly search: string | undefined;
}

/** A line, and who printed it. */
export interface EndpointLogLine extends WorkerLogLine {
  readonly worker: string;
}

const USUAL_TAIL = 100;

/** Milliseconds between two looks for workers that have started: RunPod allows 60 requests a minute. */
const WORKERS_POLL_MS = 5_000;

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Reads `[--follow] [--tail N] [--since 1h|ISO 8601] [--source container|system] [--worker ID] [--search TEXT] [--timestamps]`.
 *
 * @param now milliseconds since 1970.
 * @throws {Error} for another option, or a value that cannot be meant.
 */
export function readLogsOptions(args: readonly string[], now: number = Date.now()): LogsOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      follow: { type: 'boolean', short: 'f', default: false },
      timestamps: { type: 'boolean', default: false },
      tail: { type: 'string' },
      since: { type: 'string' },
      source: { type: 'string' },
      worker: { type: 'string' },
      search: { type: 'string' },
    },
  });
  const tail = Number(values.tail ?? USUAL_TAIL);
  if (!Number.isInteger(tail) || tail < 0 || tail > MOST_LOG_LINES)
    throw new Error(`--tail is a number of lines from 0 to ${String(MOST_LOG_LINES)}.`);
  const { source } = values;
  if (source !== undefined && source !== 'container' && source !== 'system')
    throw new Error(`--source is container or system, not "${source}".`);
  return {
    follow: values.follow,
    timestamps: values.timestamps,
    tail,
    since: values.since === undefined ? undefined : sinceOf(values.since, now),
    source,
    worker: values.worker,
    search: values.search,
  };
}

function sinceOf(text: string, now: number): Date {
  const [, amount, unit] = /^(\d+)([smhd])$/.exec(text) ?? [];
  const span = unit === undefined ? undefined : UNITS[unit];
  const since = span === undefined ? Date.parse(text) : now - Number(amount) * span;
  if (Number.isNaN(since))
    throw new Error(`--since is a span such as 1h, or a time in ISO 8601, not "${text}".`);
  return new Date(since);
}

/** The lines that active workers have printed, by time. */
export async function pastLines(
  client: RunPodManagement,
  endpointId: string,
  workers: readonly string[],
  options: LogsOptions,
): Promise<readonly EndpointLogLine[]> {
  const logs = await Promise.all(
    workers.map(async (worker) => {
      const lines: EndpointLogLine[] = [];
      for await (const line of linesOf(client, endpointId, worker, options)) lines.push(line);
      return lines;
    }),
  );
  // Times are ISO 8601 with any number of decimals: equal up to the second, they still sort as text.
  return logs.flat().sort((a, b) => Date.parse(a.at) - Date.parse(b.at) || (a.at < b.at ? -1 : 1));
}

/** Prints what workers print, also those that start later, until the signal. */
export async function followLines(
  client: RunPodManagement,
  endpointId: string,
  options: LogsOptions,
  signal: AbortSignal,
  print: (line: EndpointLogLine) => void,
): Promise<void> {
  const followed = new Map<string, Promise<void>>();
  const isWanted = (id: string): boolean =>
    !followed.has(id) && (options.worker === undefined || options.worker === id);
  try {
    for (;;) {
      const { workers } = await client.listWorkers(endpointId, { signal });
      for (const { id } of workers.filter((each) => isWanted(each.id)))
        followed.set(id, followOne(client, endpointId, id, options, signal, print));
      await Promise.race([sleepFor(WORKERS_POLL_MS, undefined, { signal }), failureOf(followed.values())]);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function followOne(
  client: RunPodManagement,
  endpointId: string,
  worker: string,
  options: LogsOptions,
  signal: AbortSignal,
  print: (line: EndpointLogLine) => void,
): Promise<void> {
  for await (const line of linesOf(client, endpointId, worker, options, signal)) print(line);
}

/** Rejects with the first of them that fails, and never resolves. */
async function failureOf(all: Iterable<Promise<void>>): Promise<never> {
  await Promise.all(all);
  return await new Promise<never>(() => undefined);
}

async function* linesOf(
  client: RunPodManagement,
  endpointId: string,
  worker: string,
  { follow, tail, since, source, search }: LogsOptions,
  signal?: AbortSignal,
): AsyncGenerator<EndpointLogLine> {
  const wanted: WorkerLogOptions = {
    follow,
    tail,
    ...(since === undefined ? {} : { since }),
    ...(source === undefined ? {} : { source }),
    ...(signal === undefined ? {} : { signal }),
  };
  try {
    for await (const line of client.workerLog(endpointId, worker, wanted))
      if (search === undefined || line.line.includes(search)) yield { ...line, worker };
  } catch (error) {
    // It has ended since it was listed.
    if (!RunPodManagementError.isInstance(error) || error.code !== 'not_found') throw error;
  }
}

/** A line for a terminal. */
export function logText({ at, worker, line }: EndpointLogLine, { timestamps }: LogsOptions): string {
  return `${timestamps ? `${at} ` : ''}[${worker}] ${line}`;
}
