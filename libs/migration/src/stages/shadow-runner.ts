import { randomUUID } from 'node:crypto';

import {
  bucketOf,
  BUCKETS,
  changeJob,
  type Clock,
  type ComfyUIService,
  ComfyUIServiceError,
  costOf,
  hasEnded,
  type JobHandle,
  type JobReference,
  type JobResult,
  type JobStore,
  MODAL_PRICES,
  type PriceTable,
  RUNPOD_PRICES,
  systemClock,
} from '@ryla/business';
import type { EndpointConfig, EndpointDefinition } from '@ryla/workflow';

import { backendsOf, type EndpointMigration, type MigrationFile } from '../file/migration-file.ts';
import { PARITY_TAGS, SHADOW_TAG } from '../gates/observation.ts';
import { closeShadow, type OpenShadow, openShadows, setAside, type ShadowMoney } from './shadow-budget.ts';
import { type Stage, shadowedSide } from './stage.ts';

/** Shadow jobs that one instance has under way at once; further ones are left out. */
export const MAXIMUM_SHADOWS = 8;

/** Milliseconds for handing over a shadow job, and for reading both results. */
const PATIENCE_MS = 15 * 60 * 1_000;

/** Milliseconds after which outputs of a shadow job are judged no more: RunPod keeps them for half an hour at least. */
const JUDGED_WITHIN_MS = 24 * 60 * 60 * 1_000;

/** Compares what both sides made; undefined where that cannot be told. */
export type CompareResults = (
  real: JobResult,
  shadow: JobResult,
  signal: AbortSignal,
) => Promise<'same' | 'differs' | undefined>;

/** Options of {@link createShadowRunner}. */
export interface ShadowRunnerOptions {
  /** Where shadow jobs are submitted; give it the same store. Its `notifyUrl` hears nothing of them. */
  readonly service: Pick<ComfyUIService, 'submit' | 'job'>;
  readonly store: JobStore;
  readonly file: MigrationFile | (() => MigrationFile);
  /** The stage in effect here: `stageOf` of `stagedRoutes`. */
  readonly stageOf: (endpoint: string) => Stage;
  /** Judges the outputs of both sides. Without it parity is not measured. */
  readonly compare?: CompareResults;
  /** US dollars that a job costs at most; by the endpoint's timeouts and the published prices without it. */
  readonly atMostUsd?: (config: EndpointConfig, backend: string) => number;
  readonly clock?: Clock;
  /** Hears why a shadow job did not run, or failed to be judged. Users never do. */
  readonly onProblem?: (endpoint: string, error: unknown) => void;
}

/** Runs a sampled share of the real jobs on the other side as well. */
export interface ShadowRunner extends AsyncDisposable {
  /** Considers a real job. Returns at once and never throws. */
  offer<Inputs extends object>(
    handle: Pick<JobHandle, 'id' | 'backend'>,
    endpoint: EndpointDefinition<Inputs>,
    inputs: Inputs,
  ): void;
  /**
   * Sees to shadow jobs of processes that ended before them: settles what they cost, and judges their outputs. Never throws. Somebody
   * has to bring them to their end: every service on the job store takes up what nobody looks after.
   */
  collect(): Promise<void>;
  /** Waits until what was offered is handed over or left out, for at most so many milliseconds; for a process that is about to end. */
  handedOver(patienceMs: number): Promise<void>;
  /** Waits for the shadow jobs under way; for tests and for the end of a process that need not hurry. */
  settled(): Promise<void>;
  /** Waits for nothing: jobs under way go on, and keep the most that they may cost set aside until another process collects them. */
  close(): Promise<void>;
}

/** A service whose real jobs are offered to a shadow runner; jobs sent to a backend by name are not. */
export function shadowing<Service extends ComfyUIService>(service: Service, runner: ShadowRunner): Service {
  const submit: ComfyUIService['submit'] = async (endpoint, inputs, given = {}) => {
    const handle = await service.submit(endpoint, inputs, given);
    if (given.backend === undefined) runner.offer(handle, endpoint, inputs);
    return handle;
  };
  const run: ComfyUIService['run'] = async (endpoint, inputs, given = {}) => {
    const { signal } = given;
    const handle = await submit(endpoint, inputs, given);
    try {
      return await handle.result(signal === undefined ? {} : { signal });
    } catch (error) {
      // As the service's own run: the job must not go on costing money.
      if (signal?.aborted === true)
        await handle.cancel({ signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
      throw error;
    }
  };
  return { ...service, submit, run };
}

/** Makes a shadow runner. */
export function createShadowRunner(options: ShadowRunnerOptions): ShadowRunner {
  const { service, store, stageOf, clock = systemClock, atMostUsd = worstCaseUsd } = options;
  const running = new Set<Promise<void>>();
  const handingOver = new Set<Promise<unknown>>();
  /** Ids of the shadow jobs that are seen to here. */
  const own = new Set<string>();
  const closed = new AbortController();

  function chosenBackend(id: string, backend: string, endpoint: string): Chosen | undefined {
    const file = typeof options.file === 'function' ? options.file() : options.file;
    const migration = Object.hasOwn(file.endpoints, endpoint) ? file.endpoints[endpoint] : undefined;
    const side = shadowedSide(stageOf(endpoint));
    if (migration === undefined || side === undefined) return undefined;
    const backends = backendsOf(migration, endpoint);
    const isOnOther = backend === (side === 'new' ? backends.old : backends.new);
    const isSampled = bucketOf(SHADOW_TAG, id) < migration.shadow.share * BUCKETS;
    return isOnOther && isSampled ? { migration, backend: backends[side] } : undefined;
  }

  async function shadow<Inputs extends object>(
    realId: string,
    endpoint: EndpointDefinition<Inputs>,
    inputs: Inputs,
    { migration, backend }: Chosen,
  ): Promise<void> {
    const { config } = endpoint;
    const id = randomUUID();
    own.add(id);
    try {
      const handing = handOver();
      handingOver.add(handing);
      const handle = await handing.finally(() => handingOver.delete(handing));
      if (handle === undefined) return;
      await handle.wait({ signal: closed.signal });
      await seeTo({ endpoint: config.name, id, of: realId }, handle, true);
    } finally {
      own.delete(id);
    }

    async function handOver(): Promise<JobHandle | undefined> {
      const money = await setAside(store, config.name, {
        atMostUsd: atMostUsd(config, backend),
        usdPerDay: migration.shadow.usdPerDay,
        now: clock.now(),
        job: { id, of: realId },
      });
      if (money === undefined) return undefined;
      return await submitted(money, () =>
        service.submit(endpoint, inputs, {
          backend,
          jobId: id,
          tags: [SHADOW_TAG, `${SHADOW_TAG}:of:${realId}`],
          notify: false,
          signal: AbortSignal.any([closed.signal, AbortSignal.timeout(PATIENCE_MS)]),
        }),
      );
    }
  }

  /** Settles a shadow job that has ended, and judges it. @param isOwn whether nobody else would judge it. */
  async function seeTo(
    { endpoint, id, of }: Pick<OpenShadow, 'id' | 'of'> & { readonly endpoint: string },
    made: JobReference,
    isOwn: boolean,
  ): Promise<void> {
    const { cost, status } = await made.record();
    // A cost that nobody knows stays the most that it may be.
    const usd = cost !== null && !cost.estimated ? cost.usd : undefined;
    const isToBeJudged = status === 'succeeded' && (options.compare !== undefined || !isOwn);
    await closeShadow(store, endpoint, id, { usd, isToBeJudged });
    if (!isToBeJudged || options.compare === undefined) return;
    try {
      await judge(service.job(of), made);
    } finally {
      // Where this process ends first, another one judges it.
      if (!closed.signal.aborted) await closeShadow(store, endpoint, id, {});
    }
  }

  async function collectOne(open: OpenShadow & { readonly endpoint: string }): Promise<void> {
    const { endpoint, id, of, at, nanoUsd } = open;
    const age = clock.now() - at;
    const record = await store.get(id);
    if (record === undefined) {
      // Its process ended between setting the money aside and storing the job.
      if (age > PATIENCE_MS) await closeShadow(store, endpoint, id, { usd: 0 });
      return;
    }
    if (!hasEnded(record)) return;
    if (age > JUDGED_WITHIN_MS || (nanoUsd === null && record.status !== 'succeeded')) {
      await closeShadow(store, endpoint, id, {});
      return;
    }
    const real = await store.get(of);
    if (real !== undefined && !hasEnded(real)) return;
    own.add(id);
    try {
      await seeTo(open, service.job(id), false);
    } finally {
      own.delete(id);
    }
  }

  async function collect(): Promise<void> {
    const problem =
      (endpoint: string) =>
      (error: unknown): void => {
        if (!closed.signal.aborted) options.onProblem?.(endpoint, error);
      };
    const open = await openShadows(store).catch((error: unknown) => {
      problem('')(error);
      return [];
    });
    for (const one of open) {
      if (closed.signal.aborted) return;
      if (!own.has(one.id)) await collectOne(one).catch(problem(one.endpoint));
    }
  }

  async function judge(real: JobReference, made: JobReference): Promise<void> {
    if (options.compare === undefined) return;
    const signal = AbortSignal.any([closed.signal, AbortSignal.timeout(PATIENCE_MS)]);
    await real.wait({ signal });
    if ((await real.record()).status !== 'succeeded') return;
    const verdict = await options.compare(
      await real.result({ signal }),
      await made.result({ signal }),
      signal,
    );
    if (verdict === undefined) return;
    await changeJob(store, made.id, ({ tags }) =>
      tags.includes(PARITY_TAGS[verdict]) ? undefined : { patch: { tags: [...tags, PARITY_TAGS[verdict]] } },
    );
  }

  const close = (): Promise<void> => {
    closed.abort(new ComfyUIServiceError('service_closed', 'The shadow runner was closed.'));
    return settled();
  };
  async function settled(): Promise<void> {
    while (running.size > 0) await Promise.all(running);
  }

  return {
    offer({ id, backend }, endpoint, inputs) {
      const { name } = endpoint.config;
      try {
        const chosen = chosenBackend(id, backend, name);
        if (chosen === undefined || closed.signal.aborted || running.size >= MAXIMUM_SHADOWS) return;
        // A stream can be read once, and the real job reads it.
        if (hasStream(inputs)) return;
        const work: Promise<void> = shadow(id, endpoint, inputs, chosen)
          .catch((error: unknown) => {
            if (!closed.signal.aborted) options.onProblem?.(name, error);
          })
          .finally(() => running.delete(work));
        running.add(work);
      } catch (error) {
        options.onProblem?.(name, error);
      }
    },
    collect,
    async handedOver(patienceMs) {
      const timer = new AbortController();
      const patience = new Promise<void>((resolve) => {
        const cancel = clock.setTimer(patienceMs, resolve);
        timer.signal.addEventListener('abort', cancel);
      });
      // The job is offered when its submission has returned; what is offered begins at once.
      await Promise.race([Promise.allSettled([...handingOver]), patience]);
      timer.abort();
    },
    settled,
    close,
    [Symbol.asyncDispose]: close,
  };
}

interface Chosen {
  readonly migration: EndpointMigration;
  readonly backend: string;
}

/** Submits, and gives the money back when the job was surely not taken. */
async function submitted<Handle>(money: ShadowMoney, submit: () => Promise<Handle>): Promise<Handle> {
  try {
    return await submit();
  } catch (error) {
    if (ComfyUIServiceError.isInstance(error) && error.accepted === 'no') await money.settle(0);
    throw error;
  }
}

/**
 * US dollars that a job of an endpoint costs at most: a cold start and an execution of as long as its timeouts, on the dearest of
 * its cards, by the published prices of the backend's provider.
 */
export function worstCaseUsd(config: EndpointConfig, backend: string): number {
  const tables = [MODAL_PRICES, RUNPOD_PRICES].filter(({ provider }) => backend.startsWith(`${provider}:`));
  const prices = tables.length === 0 ? [MODAL_PRICES, RUNPOD_PRICES] : tables;
  return Math.max(...prices.flatMap((table) => config.gpu.map((card) => cardUsd(config, table, card))));
}

function cardUsd(config: EndpointConfig, table: PriceTable, card: string): number {
  const [gpu = '', count = '1'] = card.split(':');
  const { execution, startup } = config.timeouts;
  const usage = {
    gpuCount: Number(count),
    executionMs: execution * 1_000,
    coldStartMs: startup * 1_000,
    cpuCores: config.cpu,
    memoryGib: config.memory / 1_024,
  };
  const known = costOf(table, { ...usage, gpu });
  if (known !== undefined) return known.usd;
  return Math.max(0, ...table.gpus.map(({ name }) => costOf(table, { ...usage, gpu: name })?.usd ?? 0));
}

function hasStream(inputs: object): boolean {
  return Object.values(inputs).some(
    (value: unknown) => typeof value === 'object' && value !== null && 'stream' in value,
  );
}
