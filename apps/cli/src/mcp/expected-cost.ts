import {
  type ComfyUIService,
  costOf,
  type JobRecord,
  MODAL_PRICES,
  type PriceTable,
  RUNPOD_PRICES,
} from '@ryla/business';
import { PROVIDERS, type Provider, type RylaConfig, sharesOf } from '@ryla/business/config';
import type { EndpointConfig } from '@ryla/workflow';

import { type EndpointExperience, NO_EXPERIENCE } from './endpoint-tool.ts';

/** Jobs that experience is drawn from. */
const LAST_JOBS = 20;

const PRICES: Readonly<Record<Provider, PriceTable>> = { modal: MODAL_PRICES, runpod: RUNPOD_PRICES };

/** What the last jobs of an endpoint that succeeded took. */
export async function experienceWith(
  service: Pick<ComfyUIService, 'jobs'>,
  endpoint: string,
): Promise<EndpointExperience> {
  const { jobs } = await service.jobs.list({ endpoint, status: ['succeeded'] }, { limit: LAST_JOBS });
  return experienceOf(jobs);
}

/** The figures of jobs that succeeded. */
export function experienceOf(
  jobs: readonly Pick<JobRecord, 'createdAt' | 'finishedAt' | 'cost'>[],
): EndpointExperience {
  if (jobs.length === 0) return NO_EXPERIENCE;
  const times = jobs.flatMap(({ createdAt, finishedAt }) =>
    finishedAt === null ? [] : [finishedAt - createdAt],
  );
  const costs = jobs.flatMap(({ cost }) => (cost === null ? [] : [cost.usd]));
  return {
    jobs: jobs.length,
    totalMs: median(times),
    usd: median(costs),
    dearestUsd: costs.length === 0 ? undefined : Math.max(...costs),
  };
}

/**
 * US dollars that the next job may cost: as much as the dearest of the last ones, else what all the time that its
 * endpoint allows would cost on the dearest of its cards. A card that a provider's price table lacks counts as the
 * dearest that it has: on RunPod the endpoint's pool decides which one runs a job.
 */
export function expectedCost(
  endpoint: EndpointConfig,
  experience: EndpointExperience,
  config: RylaConfig,
): number | undefined {
  if (experience.dearestUsd !== undefined) return experience.dearestUsd;
  const shares = sharesOf(config, endpoint.name);
  const ceilings = PROVIDERS.filter((provider) => shares[provider] > 0).flatMap((provider) =>
    endpoint.gpu.map((gpu) => ceiling(PRICES[provider], endpoint, gpu)),
  );
  return ceilings.length === 0 ? undefined : Math.max(...ceilings);
}

function ceiling(prices: PriceTable, { cpu, memory, timeouts }: EndpointConfig, card: string): number {
  const [name = card, count = '1'] = card.split(':');
  const on = (gpu: string): number | undefined =>
    costOf(prices, {
      gpu,
      gpuCount: Number(count),
      executionMs: timeouts.execution * 1_000,
      coldStartMs: timeouts.startup * 1_000,
      cpuCores: cpu,
      memoryGib: memory / 1_024,
    })?.usd;
  return on(name) ?? Math.max(...prices.gpus.map((gpu) => on(gpu.name) ?? 0));
}

function median(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
}
