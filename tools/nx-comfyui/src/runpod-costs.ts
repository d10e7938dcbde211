/** What an endpoint costs on RunPod: its bill, and what a worker costs by the price table. */
import { costOf, RUNPOD_PRICES } from '@ryla/business';
import {
  GPU_POOLS,
  type RunPodEndpoint,
  type RunPodGpuType,
  type RunPodManagement,
} from '@ryla/runpod-management';
import { parseArgs } from 'node:util';

/** Half-open span of a bill. */
export interface BillSpan {
  readonly start: Date;
  readonly end: Date | undefined;
}

/** What was asked. */
export interface CostsOptions {
  readonly span: BillSpan;
  readonly showResources: boolean;
  readonly json: boolean;
}

/** What RunPod billed for one bucket of time, in US dollars. */
export interface RunPodCostInterval {
  /** Beginning and end, ISO 8601. */
  readonly start: string;
  readonly end: string;
  readonly dollars: number;
  readonly resources: {
    readonly gpu: number;
    readonly cpu: number;
    readonly disk: number;
    readonly fee: number;
  };
}

/** What a worker of one of the endpoint's pools costs while it runs, in US dollars a second. */
export interface WorkerPrice {
  readonly pool: string;
  /** Null where neither the table nor the catalogue knows. */
  readonly dollarsPerSecond: number | null;
  /** Where the price is from, with its date. */
  readonly source: string;
}

/** What an endpoint costs on RunPod. */
export interface RunPodCosts {
  readonly name: string;
  readonly endpointId: string;
  readonly intervals: readonly RunPodCostInterval[];
  readonly totalDollars: number;
  readonly workerPrices: readonly WorkerPrice[];
  /** Workers that run now. */
  readonly activeWorkers: number;
}

const SPANS = ['today', 'yesterday', 'this week', 'last week', 'this month', 'last month'] as const;

/**
 * Reads `[--for SPAN] [--start DATE] [--end DATE] [--show-resources] [--json]`: this month unless another time is given.
 *
 * @throws {Error} for another option, or a value that cannot be meant.
 */
export function readCostsOptions(args: readonly string[], now: Date = new Date()): CostsOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      for: { type: 'string' },
      start: { type: 'string' },
      end: { type: 'string' },
      'show-resources': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  if (values.for !== undefined && (values.start !== undefined || values.end !== undefined))
    throw new Error('Give --for, or --start and --end.');
  if (values.end !== undefined && values.start === undefined) throw new Error('--end needs --start.');
  const span =
    values.start === undefined
      ? namedSpan(values.for ?? 'this month', now)
      : {
          start: dateOf('--start', values.start),
          end: values.end === undefined ? undefined : dateOf('--end', values.end),
        };
  if (span.end !== undefined && span.end <= span.start) throw new Error('The end is not after the start.');
  return { span, showResources: values['show-resources'], json: values.json };
}

/** Spans are whole days of UTC, weeks begin on Monday: as `modal billing report` has them. */
function namedSpan(name: string, now: Date): BillSpan {
  const day = (offset: number): Date =>
    new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() + offset));
  const month = (offset: number): Date =>
    new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + offset));
  const monday = -((now.getUTCDay() + 6) % 7);
  switch (SPANS.find((span) => span === name)) {
    case 'today':
      return { start: day(0), end: undefined };
    case 'yesterday':
      return { start: day(-1), end: day(0) };
    case 'this week':
      return { start: day(monday), end: undefined };
    case 'last week':
      return { start: day(monday - 7), end: day(monday) };
    case 'this month':
      return { start: month(0), end: undefined };
    case 'last month':
      return { start: month(-1), end: month(0) };
    case undefined:
      throw new Error(`--for is one of ${SPANS.join(', ')}, not "${name}".`);
  }
}

function dateOf(option: string, text: string): Date {
  const milliseconds = Date.parse(text);
  if (Number.isNaN(milliseconds)) throw new Error(`${option} is a date such as 2026-11-01, not "${text}".`);
  return new Date(milliseconds);
}

/** Asks RunPod for the bill of an endpoint, and puts prices beside it. */
export async function runpodCosts(
  client: RunPodManagement,
  live: RunPodEndpoint,
  { start, end }: BillSpan,
): Promise<RunPodCosts> {
  const [bill, gpuTypes, { workers }] = await Promise.all([
    client.serverlessBilling({
      endpointId: live.id,
      startTime: start,
      ...(end === undefined ? {} : { endTime: end }),
      bucketSize: 'day',
    }),
    client.listGpuTypes(),
    client.listWorkers(live.id),
  ]);
  const intervals = bill.records
    .filter(({ serverlessId }) => serverlessId === live.id)
    .map((record) => ({
      start: record.startTime,
      end: record.endTime,
      dollars: record.totalAmount,
      resources: {
        gpu: record.gpuAmount,
        cpu: record.cpuAmount,
        disk: record.diskAmount,
        fee: record.feeAmount,
      },
    }))
    .sort((a, b) => (a.start < b.start ? -1 : 1));
  const { gpu } = live;
  return {
    name: live.name,
    endpointId: live.id,
    intervals,
    totalDollars: intervals.reduce((sum, { dollars }) => sum + dollars, 0),
    workerPrices: (gpu?.pools ?? []).map((pool) => priceOf(pool, gpu?.count ?? 1, gpuTypes)),
    activeWorkers: workers.length,
  };
}

/** The dated table first, since jobs are counted by it; the dearest card of RunPod's catalogue where it has no price. */
function priceOf(pool: string, gpuCount: number, gpuTypes: readonly RunPodGpuType[]): WorkerPrice {
  const second = costOf(RUNPOD_PRICES, { gpu: pool, gpuCount, executionMs: 1_000 });
  if (second !== undefined)
    return { pool, dollarsPerSecond: second.usd, source: `price table of ${RUNPOD_PRICES.date}` };
  const hourly = gpuTypes.flatMap((type) =>
    type.pool === pool && type.price.serverless !== undefined ? [type.price.serverless] : [],
  );
  if (hourly.length === 0) return { pool, dollarsPerSecond: null, source: 'no price is known' };
  return {
    pool,
    dollarsPerSecond: (Math.max(...hourly) * gpuCount) / 3_600,
    source: "RunPod's catalogue, now",
  };
}

/** The same as lines for a terminal. */
export function runpodCostTable(costs: RunPodCosts, { span, showResources }: CostsOptions): string {
  const { name, endpointId, intervals, totalDollars, workerPrices, activeWorkers } = costs;
  const since = `since ${span.start.toISOString().slice(0, 10)}`;
  const until = span.end === undefined ? '' : `, before ${span.end.toISOString().slice(0, 10)}`;
  return [
    ...intervals.map(({ start, dollars, resources }) =>
      [
        start.slice(0, 10),
        money(dollars),
        ...(showResources
          ? Object.entries(resources).map(([resource, amount]) => `${resource} ${money(amount)}`)
          : []),
      ].join('  '),
    ),
    `${name} (${endpointId}): ${intervals.length === 0 ? 'nothing was billed' : money(totalDollars)} ${since}${until}`,
    ...workerPrices.map(priceLine),
    `Active workers now: ${String(activeWorkers)}`,
  ].join('\n');
}

function priceLine({ pool, dollarsPerSecond, source }: WorkerPrice): string {
  const cards = GPU_POOLS.pools[pool]?.cards.join(', ');
  const what = `A worker on ${pool}${cards === undefined ? '' : ` (${cards})`}`;
  if (dollarsPerSecond === null) return `${what}: ${source}`;
  return `${what}: $${dollarsPerSecond.toFixed(5)} a second, ${money(dollarsPerSecond * 3_600, 2)} an hour while it runs (${source})`;
}

function money(dollars: number, decimals = 4): string {
  return `$${dollars.toFixed(decimals)}`;
}
