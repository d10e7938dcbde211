/** GPUs, workers, scaling and timeouts. */
import { GPU_POOLS } from '@ryla/runpod-management';
import { SCALEDOWN_SECONDS, TIMEOUT_SECONDS } from '@ryla/workflow';

import type { Fields } from './fields.ts';
import { cardForPool, poolOfType } from './modal-cards.ts';

/** GPUs of an endpoint, on both clouds. */
export interface Gpus {
  /** Modal's cards, with their number; empty when nobody can say. */
  readonly cards: readonly string[];
  readonly pools: readonly string[];
  readonly excludedTypes: readonly string[];
  readonly count: number;
}

/** Cards of one worker that Modal takes at most. */
const MOST_CARDS = 8;

/** Reads what an endpoint asks for: pools (v2) or GPU types (v1). */
export function readGpus(fields: Fields, catalogue: ReadonlyMap<string, string>): Gpus {
  const gpu = fields.within('gpu');
  const count = readCount(fields);
  const pools = [...poolsOf(gpu, count), ...poolsOfTypes(fields, count, catalogue)];
  const excludedTypes = (gpu.texts('excludedTypes') ?? []).filter((type) => type !== '');
  gpu.claimEmpty('excludedTypes', 'allowedCudaVersions', 'minCudaVersion');
  fields.claimEmpty('gpu', 'allowedCudaVersions', 'gpuTypeIds', 'minCudaVersion');
  if (gpu.texts('excludedTypes') !== undefined)
    gpu.claim(
      'changes',
      'excludedTypes',
      'Stays on RunPod (providers.runpod.excludedGpuTypes); on Modal cards are named one by one.',
    );
  claimCuda(gpu);
  claimCuda(fields);
  const cards = pools.flatMap((pool) => {
    const choice = cardForPool(pool);
    return choice === undefined ? [] : [count === 1 ? choice.card : `${choice.card}:${count}`];
  });
  return { cards: [...new Set(cards)], pools: [...new Set(pools)], excludedTypes, count };
}

function claimCuda(from: Fields): void {
  const why = "Modal's machines all run one driver; the image brings its CUDA.";
  if (from.texts('allowedCudaVersions') !== undefined) from.claim('changes', 'allowedCudaVersions', why);
  if (from.text('minCudaVersion') !== undefined) from.claim('changes', 'minCudaVersion', why);
}

function readCount(fields: Fields): number {
  const v2 = fields.within('gpu');
  const [from, name] = v2.has('count') ? ([v2, 'count'] as const) : ([fields, 'gpuCount'] as const);
  const count = from.whole(name);
  if (count === undefined) return 1;
  if (count >= 1 && count <= MOST_CARDS) {
    from.claim('exact', name, `${count} for each worker.`);
    return count;
  }
  from.claim('person', name, `Modal gives 1 to ${MOST_CARDS} cards to a worker; 1 is set.`);
  return 1;
}

function poolsOf(gpu: Fields, count: number): readonly string[] {
  const places = gpu.within('pools');
  return (gpu.texts('pools') ?? []).flatMap((pool, index) => {
    const choice = cardForPool(pool);
    if (choice === undefined) {
      places.claim('person', index, `No card of Modal's is known to stand for the pool ${pool}.`);
      return Object.hasOwn(GPU_POOLS.pools, pool) ? [pool] : [];
    }
    places.claim(choice.isSame && count === 1 ? 'exact' : 'changes', index, `${choice.note}.`);
    return [pool];
  });
}

function poolsOfTypes(
  fields: Fields,
  count: number,
  catalogue: ReadonlyMap<string, string>,
): readonly string[] {
  const places = fields.within('gpuTypeIds');
  return (fields.texts('gpuTypeIds') ?? []).flatMap((type, index) => {
    const pool = catalogue.get(type) ?? poolOfType(type);
    const choice = pool === undefined ? undefined : cardForPool(pool);
    if (pool === undefined || choice === undefined) {
      places.claim('person', index, `No card of Modal's is known to stand for ${type}.`);
      return [];
    }
    const isExact = choice.isSame && count === 1;
    places.claim(isExact ? 'exact' : 'changes', index, `${type} is of the pool ${pool}: ${choice.note}.`);
    return [pool];
  });
}

/** Workers of an endpoint as containers. */
export interface Scaling {
  readonly minContainers: number;
  readonly maxContainers: number;
  readonly scaledownWindow: number | undefined;
  readonly runpod: RunPodScaling | undefined;
}

/** How RunPod scales an endpoint: `queueDelay` in seconds. */
export type RunPodScaling =
  | { readonly type: 'QUEUE_DELAY'; readonly queueDelay: number }
  | { readonly type: 'REQUEST_COUNT'; readonly requestCount: number };

/** Reads workers and scaling. */
export function readScaling(fields: Fields): Scaling {
  const v2 = fields.within('workers');
  const isV2 = v2.has('min') || v2.has('max') || v2.has('idleTimeout');
  const [from, least, most] = isV2
    ? ([v2, 'min', 'max'] as const)
    : ([fields, 'workersMin', 'workersMax'] as const);
  const min = from.whole(least);
  const max = from.whole(most);
  const maxContainers = Math.max(1, max ?? 1, min ?? 0);
  if (min !== undefined) from.claim('exact', least, `scaling.minContainers is ${min}.`);
  if (max !== undefined)
    from.claim(
      max === maxContainers ? 'exact' : 'changes',
      most,
      max === maxContainers
        ? `scaling.maxContainers is ${max}.`
        : `${max} workers: the endpoint is switched off, or has fewer than its minimum. scaling.maxContainers is ${maxContainers}.`,
    );
  return {
    minContainers: min ?? 0,
    maxContainers,
    scaledownWindow: readIdleTimeout(isV2 && v2.has('idleTimeout') ? v2 : fields),
    runpod: readScaler(fields),
  };
}

function readIdleTimeout(from: Fields): number | undefined {
  const seconds = from.number('idleTimeout');
  if (seconds === undefined) return undefined;
  const { minimum, maximum } = SCALEDOWN_SECONDS;
  const window = Math.min(Math.max(Math.ceil(seconds), minimum), maximum);
  if (window === seconds) from.claim('exact', 'idleTimeout', `scaling.scaledownWindow is ${window} s.`);
  else
    from.claim(
      'changes',
      'idleTimeout',
      `Modal takes ${minimum} to ${maximum} s: scaling.scaledownWindow is ${window} s.`,
    );
  return window;
}

const NO_SCALER =
  'Stays on RunPod (providers.runpod.scaling). Modal starts a container for every job that waits, up to maxContainers.';

function readScaler(fields: Fields): RunPodScaling | undefined {
  const v2 = fields.within('scaling');
  const isV2 = v2.has('type');
  const type = isV2 ? v2.text('type') : fields.text('scalerType');
  const value = isV2
    ? v2.number(type === 'QUEUE_DELAY' ? 'queueDelay' : 'requestCount')
    : fields.number('scalerValue');
  const scaling = scalerOf(type, value);
  if (scaling === undefined) return undefined;
  if (isV2) {
    v2.claim('changes', 'type', NO_SCALER);
    v2.claim('changes', type === 'QUEUE_DELAY' ? 'queueDelay' : 'requestCount', NO_SCALER);
  } else for (const name of ['scalerType', 'scalerValue']) fields.claim('changes', name, NO_SCALER);
  return scaling;
}

function scalerOf(type: string | undefined, value: number | undefined): RunPodScaling | undefined {
  if (value === undefined) return undefined;
  if (type === 'QUEUE_DELAY' && value >= 0.5) return { type, queueDelay: value };
  return type === 'REQUEST_COUNT' && Number.isSafeInteger(value) && value >= 1
    ? { type, requestCount: value }
    : undefined;
}

/** Seconds that an execution may take; undefined where the input does not say. */
export function readTimeout(fields: Fields): number | undefined {
  const name = fields.has('timeout') ? 'timeout' : 'executionTimeoutMs';
  const ms = fields.number(name);
  if (ms === undefined) return undefined;
  if (ms === 0) {
    fields.claim('changes', name, "0 is RunPod's default, 600 s: timeouts.execution is 600.");
    return 600;
  }
  const { minimum, maximum } = TIMEOUT_SECONDS;
  const seconds = Math.min(Math.max(Math.ceil(ms / 1_000), minimum), maximum);
  if (seconds * 1_000 === ms) fields.claim('exact', name, `timeouts.execution is ${seconds} s.`);
  else
    fields.claim(
      'changes',
      name,
      `${ms} ms: Modal takes whole seconds from ${minimum} to ${maximum}; timeouts.execution is ${seconds}.`,
    );
  return seconds;
}
