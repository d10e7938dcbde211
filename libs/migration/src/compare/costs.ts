/** What jobs cost: of measured seconds and dated prices, with the time that workers stay idle. */
import { costOf, MODAL_PRICES, type PriceTable, RUNPOD_PRICES } from '@ryla/business';

import type { ComparedJob, ComparedSide } from './comparison.ts';

/** What is known of a side beside its measurements. */
export interface SideOptions {
  /** Name of the service's backend. */
  readonly backend: string;
  /** Published prices of the provider that the backend's name begins with (`modal`, `runpod:picture`) without it. */
  readonly prices?: PriceTable;
  /** Card, for a backend that does not tell; with a count such as `H100:2` if wanted. */
  readonly gpu?: string;
  /** Seconds that a worker stays after its last job: `scaling.scaledownSeconds` on Modal, `idleTimeout` on RunPod. */
  readonly idleSeconds?: number;
  /** Physical cores and GiB of memory, where the table prices them. */
  readonly cpuCores?: number;
  readonly memoryGib?: number;
  /** Factor on everything: region, non-preemptible, a contract's discount; 1 when absent. */
  readonly multiplier?: number;
}

const PUBLISHED: Readonly<Record<string, PriceTable>> = { modal: MODAL_PRICES, runpod: RUNPOD_PRICES };

/** The price table of a side; undefined for a provider of which none is known. */
export function pricesOf({ backend, prices }: SideOptions): PriceTable | undefined {
  return prices ?? PUBLISHED[backend.split(':')[0] ?? ''];
}

/** US dollars of measured milliseconds; `null` where card, price or duration is not known. */
export function usdOf(
  side: SideOptions,
  gpu: string | null,
  { executionMs, coldStartMs }: Pick<ComparedJob, 'executionMs' | 'coldStartMs'>,
): number | null {
  const prices = pricesOf(side);
  if (prices === undefined || gpu === null || executionMs === null) return null;
  const [card = '', count = '1'] = gpu.split(':');
  const { cpuCores, memoryGib, multiplier } = side;
  const cost = costOf(prices, {
    gpu: card,
    gpuCount: Number(count),
    executionMs,
    coldStartMs,
    ...(cpuCores === undefined ? {} : { cpuCores }),
    ...(memoryGib === undefined ? {} : { memoryGib }),
    ...(multiplier === undefined ? {} : { multiplier }),
  });
  return cost?.usd ?? null;
}

/** How many jobs a team runs. */
export interface Volume {
  readonly jobsPerMonth: number;
  /** Hours of the day over which they come; 24 without it. */
  readonly hoursPerDay?: number;
}

/** Whether a month can be reckoned with: a number of jobs above 0, hours above 0 and up to 24. */
export function isVolume({ jobsPerMonth, hoursPerDay = 24 }: Volume): boolean {
  return Number.isFinite(jobsPerMonth) && jobsPerMonth > 0 && hoursPerDay > 0 && hoursPerDay <= 24;
}

/** What a month costs at a volume. */
export interface ProjectedCost {
  readonly usdPerMonth: number;
  readonly usdPerPicture: number;
  /** Of the month's cost. */
  readonly idleUsd: number;
  readonly coldStartUsd: number;
  /** Share of jobs that wait for a worker to start. */
  readonly coldShare: number;
  /** Share of the time in which one worker would be busy; above {@link BUSY} more workers are needed and the figures are rough. */
  readonly utilisation: number;
}

/** Days of a month. */
const DAYS = 30;

/** Utilisation of one worker above which a queue grows or a second worker starts. */
export const BUSY = 0.7;

/**
 * A month's cost: measured seconds of execution, cold starts for the jobs that meet no warm worker, and the seconds that the
 * worker waits after a job. Jobs come at random (a Poisson process) to one worker: after a job it is free with probability
 * `1 - utilisation`, and the next then comes within `t` seconds with probability `1 - exp(-rate t)`. Undefined where price, execution
 * time or idle time is not known.
 */
export function projectedCost(
  side: Pick<
    ComparedSide,
    'usdPerSecond' | 'idleSeconds' | 'executionSeconds' | 'coldStartSeconds' | 'picturesPerJob'
  >,
  volume: Volume,
): ProjectedCost | undefined {
  const { jobsPerMonth, hoursPerDay = 24 } = volume;
  const { usdPerSecond, idleSeconds, executionSeconds, coldStartSeconds, picturesPerJob } = side;
  if (usdPerSecond === null || idleSeconds === null || executionSeconds === null) return undefined;
  if (!isVolume(volume)) return undefined;
  const rate = jobsPerMonth / (DAYS * hoursPerDay * 3_600);
  const utilisation = rate * executionSeconds;
  const isFree = Math.max(0, 1 - utilisation);
  const isGone = Math.exp(-rate * idleSeconds);
  const coldShare = isFree * isGone;
  const coldStartUsd = jobsPerMonth * coldShare * (coldStartSeconds ?? 0) * usdPerSecond;
  const idleUsd = jobsPerMonth * isFree * ((1 - isGone) / rate) * usdPerSecond;
  const usdPerMonth = jobsPerMonth * executionSeconds * usdPerSecond + coldStartUsd + idleUsd;
  const pictures = jobsPerMonth * Math.max(1, picturesPerJob ?? 1);
  return {
    usdPerMonth,
    usdPerPicture: usdPerMonth / pictures,
    idleUsd,
    coldStartUsd,
    coldShare,
    utilisation,
  };
}
