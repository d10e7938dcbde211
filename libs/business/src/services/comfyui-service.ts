import { randomUUID } from 'node:crypto';
import path from 'node:path';

import {
  type ApiWorkflow,
  applyInputs,
  type EndpointDefinition,
  type FileInput,
  parseApiWorkflow,
  type StagedFile,
  WorkflowError,
} from '@ryla/workflow';

import type { Adapter, BackendHealth } from '../adapter.ts';
import { ComfyUIServiceError, type ErrorContext } from '../errors.ts';
import {
  isTerminal,
  type JobEvent,
  type JobFile,
  type JobResult,
  type JobSnapshot,
  type JobSubmission,
} from '../job.ts';
import type { JobOutput } from '../output.ts';
import { MODAL_PRICES, type PriceTable, RUNPOD_PRICES } from '../policy/costs.ts';
import { ExecutionHistory } from '../policy/execution-history.ts';
import { onAbort } from '../policy/on-abort.ts';
import { createRoutes, type Route, type Routes, type RouteTable } from '../policy/routes.ts';
import { createSpendLimit, spentIn } from '../policy/spend-limit.ts';
import { type Clock, reasonOf, systemClock } from '../clock.ts';
import { hasEnded, type JobRecord } from '../store/job-record.ts';
import type { CostSum, JobFilter, JobPage, JobStore } from '../store/job-store.ts';
import { memoryJobStore } from '../store/memory-job-store.ts';
import { JobStoreError } from '../store/store-error.ts';
import { runpodWebhookUrl } from '../webhooks/job-secret.ts';
import { checkReceiverUrl, createWebhookSender, jobMessage } from '../webhooks/outgoing.ts';
import { parseWebhookSecret } from '../webhooks/standard-webhooks.ts';
import { type ArtifactStore, keptOutputs } from './artifacts.ts';
import { type Backend, type BackendState, createBackend } from './backend.ts';
import { JobEngine, LEASE } from './job-engine.ts';
import { preparePayload } from './job-payload.ts';
import type { JobRun } from './job-run.ts';
import { failureOf } from './stored-job.ts';
import { createTelemetry } from './telemetry.ts';

/** Where backends tell of a job's end, and where the application wants to hear of it. */
export interface WebhookOptions {
  /**
   * Public address of the handler of incoming webhooks, such as `https://app.example/webhooks`. Backends with webhooks
   * are then polled rarely.
   */
  readonly incomingUrl?: string;
  /** Secrets of this application (`whsec_…`), the newest first, of which every job's own is made. */
  readonly incomingSecrets?: readonly string[];
  /** Address of the application that is told of every job's end, signed as Standard Webhooks. */
  readonly notifyUrl?: string;
  /** Secrets (`whsec_…`) to sign with, the newest first. */
  readonly notifySecrets?: readonly string[];
  /** Whether `notifyUrl` may lead to a private network or this machine, over http too. Default false. */
  readonly allowPrivateNetworks?: boolean;
}

/** Options of {@link createComfyUIService}. */
export interface ComfyUIServiceOptions<Backend extends string = string> {
  /** Backends by name; one that is undefined is not there. */
  readonly adapters: { readonly [Name in Backend]?: Adapter | undefined };
  /** Where jobs are kept; in memory without it, and gone with the process. */
  readonly store?: JobStore;
  /** Where the new jobs of each endpoint go. Without it all go to `defaultBackend`. */
  readonly routes?: RouteTable;
  /** Backend of jobs that name none and have no route; the first adapter otherwise. */
  readonly defaultBackend?: NoInfer<Backend>;
  /** Where outputs are kept once a job has ended; without it they stay at the backend, for as long as that keeps them. */
  readonly artifacts?: ArtifactStore;
  /** Runs of one job that may follow one whose machine died; 1 without it. A new run begins only when the last is over. */
  readonly restarts?: number;
  /** US dollars a day (UTC) that the jobs of an endpoint may cost. */
  readonly usdPerDay?: Readonly<Record<string, number>>;
  /** Prices by provider, in place of the published ones. */
  readonly prices?: Readonly<Record<string, PriceTable>>;
  readonly webhooks?: WebhookOptions;
  /** Hears of what goes wrong where nobody waits for it. */
  readonly onProblem?: (kind: string, jobId: string | undefined, error: unknown) => void;
  readonly clock?: Clock;
}

/** Options of a submission. */
export interface SubmitOptions<Backend extends string = string> {
  /** Only this backend; without it the routes decide. */
  readonly backend?: Backend;
  /** The job's id, minted by the caller (a UUID); the service mints one otherwise. The same id is the same job. */
  readonly jobId?: string;
  /** Jobs with the same key go to the same backend; the job's id without it. */
  readonly routeKey?: string;
  readonly tags?: readonly string[];
  /** Whether `webhooks.notifyUrl` is told of its end; true without it. Every instance keeps to it: it is stored as {@link QUIET_TAG}. */
  readonly notify?: boolean;
  readonly signal?: AbortSignal;
}

/** Tag of jobs whose end `webhooks.notifyUrl` is not told. */
export const QUIET_TAG = 'ryla:no-notification';

/** Options of calls that wait. */
export interface WaitOptions {
  readonly signal?: AbortSignal;
}

/** A bare workflow in API format, with the files that it refers to by name. */
export interface BareWorkflow {
  readonly workflow: ApiWorkflow;
  readonly files?: Readonly<Record<string, FileInput>>;
}

/** A job by its id. Every call rejects with `unknown_job` where the store has no such job. */
export interface JobReference<OutputName extends string = string> {
  readonly id: string;
  /** What the backend says now; of a job that has ended, what is stored. */
  status(options?: WaitOptions): Promise<JobSnapshot>;
  /** What happens, live; ends with exactly one `finished`. Leaving the iteration does not stop the job. */
  events(options?: WaitOptions): AsyncIterable<JobEvent>;
  /** Waits for the end, whatever it is. */
  wait(options?: WaitOptions): Promise<JobSnapshot>;
  /** Waits for the end and returns what the job made; rejects with the cause when it made nothing. */
  result(options?: WaitOptions): Promise<JobResult<OutputName>>;
  /** Asks the backend to stop the job. A job that has ended stays as it is. */
  cancel(options?: WaitOptions): Promise<void>;
  /** What is stored of the job. */
  record(): Promise<JobRecord>;
}

/** A job that was submitted. */
export interface JobHandle<OutputName extends string = string> extends JobReference<OutputName> {
  readonly backend: string;
  readonly endpoint: string | undefined;
}

/** How the service and its backends do. */
export interface ServiceHealth {
  readonly ok: boolean;
  readonly jobsInFlight: number;
  readonly store: { readonly ok: boolean; readonly error?: string };
  readonly backends: Readonly<
    Record<
      string,
      BackendState & { readonly ok: boolean; readonly health?: BackendHealth; readonly error?: string }
    >
  >;
}

/** What an endpoint says of its jobs beside the workflow. */
interface Described {
  /** Nodes by the names of their outputs. */
  readonly outputNodes: Readonly<Record<string, string>>;
  /** The card that it asks for first. */
  readonly gpu: string | undefined;
}

type BackendEntry = readonly [string, ServiceHealth['backends'][string]];

/** Runs ComfyUI workflows on whichever backend. */
export interface ComfyUIService<Backend extends string = string> extends AsyncDisposable {
  /** Submits an endpoint's workflow with typed inputs; it is stored before anything is sent. */
  submit<Inputs extends object, OutputName extends string>(
    endpoint: EndpointDefinition<Inputs, OutputName>,
    inputs: NoInfer<Inputs>,
    options?: SubmitOptions<Backend>,
  ): Promise<JobHandle<OutputName>>;
  /** Submits any workflow in API format. */
  submitWorkflow(workflow: BareWorkflow, options?: SubmitOptions<Backend>): Promise<JobHandle>;
  /** Submits, waits and returns the result. Aborting it cancels the job. */
  run<Inputs extends object, OutputName extends string>(
    endpoint: EndpointDefinition<Inputs, OutputName>,
    inputs: NoInfer<Inputs>,
    options?: SubmitOptions<Backend>,
  ): Promise<JobResult<OutputName>>;
  /** A job by its id, whoever submitted it. Give the endpoint for named outputs. */
  job<Inputs extends object, OutputName extends string = string>(
    id: string,
    endpoint?: EndpointDefinition<Inputs, OutputName>,
  ): JobReference<OutputName>;
  readonly jobs: {
    /** Stored jobs, newest first. */
    list(
      filter?: JobFilter,
      page?: { readonly cursor?: string | undefined; readonly limit?: number },
    ): Promise<JobPage>;
  };
  /** Where new jobs go; may be changed at any time, for new jobs only. */
  readonly routes: Pick<Routes, 'table' | 'replace' | 'set' | 'subscribe'>;
  /** What stored jobs cost. */
  costs(options: { readonly by: 'endpoint' | 'backend' | 'day' } & JobFilter): Promise<readonly CostSum[]>;
  /** Asks the store and every backend how they are. */
  health(options?: WaitOptions): Promise<ServiceHealth>;
  /** Takes over jobs that no running service looks after; the service does so by itself, at its start and every 10 s. */
  recover(): Promise<void>;
  /**
   * Takes in a webhook that was proved to be about a job, or about an attempt of it (`<job>.<attempt>`): `onNotice` of `createWebhookHandler` of
   * `@ryla/business/webhooks`. What it says is taken in place of a look where the backend's adapter can read it.
   */
  notice(notice: { readonly jobId: string; readonly envelope?: unknown }): Promise<void>;
  /** Closes connections; whoever still waits gets `service_closed`. Jobs go on. */
  close(): Promise<void>;
}

/** Milliseconds between two looks at the store for a job that another service sends. */
const OTHERS_MS = 500;

/** Milliseconds that aborting `run` waits for the cancellation to reach the backend. */
const CANCEL_ON_ABORT_MS = 5_000;

/** Makes a service over the given backends. */
export function createComfyUIService<Name extends string>(
  options: ComfyUIServiceOptions<Name>,
): ComfyUIService<Name> {
  const clock = options.clock ?? systemClock;
  const store = options.store ?? memoryJobStore({ clock });
  const telemetry = createTelemetry(options.onProblem);
  const history = new ExecutionHistory();
  const backends = new Map<string, Backend>();
  for (const [name, adapter] of Object.entries<Adapter | undefined>(options.adapters)) {
    if (adapter === undefined) continue;
    const onRetry = telemetry.retried.bind(telemetry, name);
    backends.set(name, createBackend({ name, adapter, clock, history, onRetry }));
  }
  const routes = createRoutes(options.routes ?? defaultRoutes(options.defaultBackend, [...backends.keys()]));
  const prices = new Map<string, PriceTable>(
    Object.entries({ modal: MODAL_PRICES, runpod: RUNPOD_PRICES, ...options.prices }),
  );
  const spendLimit = createSpendLimit({
    clock,
    usdPerDay: options.usdPerDay ?? {},
    spent: spentIn(store),
  });
  const { incomingUrl, incomingSecrets = [], notifyUrl, notifySecrets = [] } = options.webhooks ?? {};
  checkWebhooks(options.webhooks);
  const closed = new AbortController();
  // One listener for as long as the service lives: adding the first and removing the last costs more than a call.
  onAbort(closed.signal, () => undefined);

  const engine = new JobEngine({
    store,
    backends,
    clock,
    history,
    artifacts: options.artifacts,
    restarts: options.restarts ?? 1,
    prices,
    webhookUrl: (jobId, attempt) =>
      incomingUrl === undefined || incomingSecrets[0] === undefined
        ? undefined
        : runpodWebhookUrl(incomingUrl, `${jobId}.${attempt}`, incomingSecrets[0]),
    deliveriesOf: (job, patch) =>
      notifyUrl === undefined || job.tags.includes(QUIET_TAG)
        ? []
        : [
            jobMessage(
              job.id,
              `job.${patch.status ?? job.status}`,
              patch.finishedAt ?? clock.now(),
              notifyUrl,
            ),
          ],
    onDeliveries: () => sender?.wake(),
    telemetry,
  });

  const sender =
    notifyUrl === undefined
      ? undefined
      : createWebhookSender({
          outbox: store,
          secrets: () => notifySecrets,
          owner: engine.owner,
          clock,
          ...(options.webhooks?.allowPrivateNetworks === true
            ? { allowPrivateNetworks: true, allowHttp: true }
            : {}),
          onProblem: (error) => telemetry.problem('webhook', undefined, error),
        });
  sender?.start();

  function signalOf(given: AbortSignal | undefined): AbortSignal {
    return given === undefined ? closed.signal : AbortSignal.any([given, closed.signal]);
  }

  function backendsFor(
    endpoint: string | undefined,
    jobId: string,
    chosen: SubmitOptions,
  ): readonly string[] {
    const names =
      chosen.backend === undefined
        ? routes.backendsFor(endpoint, chosen.routeKey ?? jobId)
        : [chosen.backend];
    return names.map((name) => engine.backend(name).name);
  }

  async function send<OutputName extends string>(
    submission: Omit<JobSubmission, 'jobId'>,
    { outputNodes, gpu }: Described,
    given: SubmitOptions,
  ): Promise<JobHandle<OutputName>> {
    const signal = signalOf(given.signal);
    signal.throwIfAborted();
    const { endpoint, workflow, files } = submission;
    const jobId = given.jobId ?? randomUUID();
    const names = backendsFor(endpoint, jobId, given);
    const [backend = ''] = names;
    const context = { jobId, endpoint, backend };
    return withErrors(context, () =>
      telemetry.submission(
        { 'ryla.job': jobId, 'ryla.endpoint': endpoint ?? '', 'ryla.backend': backend },
        async () => {
          const payload = await preparePayload({ workflow, files }, signal);
          const cost = engine.estimate(endpoint ?? null, backend, gpu);
          const reserved =
            endpoint === undefined ? undefined : await spendLimit.reserve(endpoint, cost?.usd ?? 0);
          const traceparent = telemetry.traceparent();
          try {
            const { job, created } = await store.create(
              {
                id: jobId,
                endpoint: endpoint ?? null,
                backend,
                payloadHash: payload.hash,
                routeKey: given.routeKey ?? null,
                ...(gpu === undefined ? {} : { gpu }),
                ...(cost === undefined ? {} : { cost }),
                ...(traceparent === undefined ? {} : { traceparent }),
                tags: tagsOf(given),
                ...(payload.stored === undefined ? {} : { payload: payload.stored }),
              },
              { owner: engine.owner, ms: LEASE.ms },
            );
            const run = engine.attach(job);
            if (created) {
              const isStored = payload.stored !== undefined;
              const sent = engine.send(run, { job: { workflow, files }, backends: names, isStored });
              await unlessAborted(sent, given.signal, () => giveUp(run, sent));
            }
            return handleOf(run, outputNodes);
          } finally {
            reserved?.release();
          }
        },
      ),
    );
  }

  /** The caller gave up while the job was being sent: it must not go on costing money. */
  function giveUp(run: JobRun, sent: Promise<void>): void {
    engine.cancel(run, AbortSignal.timeout(CANCEL_ON_ABORT_MS)).catch(() => undefined);
    sent.catch(() => undefined);
  }

  /** The run of a job: here, or as another service has stored it. */
  async function runOf(id: string): Promise<JobRun> {
    const known = engine.run(id);
    if (known !== undefined) return known;
    const record = await store.get(id);
    if (record === undefined) {
      throw new ComfyUIServiceError('unknown_job', `There is no job ${id} in the store.`, { jobId: id });
    }
    const run = engine.attach(record);
    if (!run.hasEnded && record.providerRef !== null) engine.follow(run, false);
    return run;
  }

  /** Waits until a job that another service is sending has arrived at its backend, or has ended. */
  async function arrived(run: JobRun, signal: AbortSignal): Promise<JobRun> {
    while (!run.hasEnded && run.record.providerRef === null) {
      await clock.sleep(OTHERS_MS, signal);
      const record = await store.get(run.id);
      if (record === undefined || record.version <= run.record.version) continue;
      run.record = record;
      if (hasEnded(record)) run.end();
      else if (record.providerRef !== null) engine.follow(run, false);
    }
    return run;
  }

  function followArrival(run: JobRun, given: AbortSignal | undefined): void {
    const isHere = run.hasEnded || run.record.providerRef !== null || engine.isSending(run);
    if (!isHere) void arrived(run, signalOf(given)).catch(() => undefined);
  }

  function handleOf<OutputName extends string>(
    run: JobRun,
    outputNodes: Readonly<Record<string, string>>,
  ): JobHandle<OutputName> {
    // A run that was let go, because nobody could follow it here, is looked for anew.
    const find = (): Promise<JobRun> =>
      run.hasEnded || engine.run(run.id) === run ? Promise.resolve(run) : runOf(run.id);
    const reference = referenceOf<OutputName>(run.id, outputNodes, find);
    return { ...reference, backend: run.record.backend, endpoint: run.record.endpoint ?? undefined };
  }

  function referenceOf<OutputName extends string>(
    id: string,
    outputNodes: Readonly<Record<string, string>>,
    find: () => Promise<JobRun>,
  ): JobReference<OutputName> {
    const context = { jobId: id };

    async function* events(given: AbortSignal | undefined): AsyncGenerator<JobEvent, void, undefined> {
      const signal = signalOf(given);
      const run = await find();
      followArrival(run, given);
      try {
        yield* run.events(signal);
      } catch (error) {
        throw ComfyUIServiceError.isInstance(error) ? error.within(run.context) : error;
      }
    }

    /** One frame, because thousands may wait. */
    async function wait(given: AbortSignal | undefined): Promise<JobRun> {
      let run: JobRun | undefined;
      try {
        run = await find();
        closed.signal.throwIfAborted();
        followArrival(run, given);
        // The end of the service is told to every run.
        await run.ended(given);
        return run;
      } catch (error) {
        throw translated(error, run?.context ?? context);
      }
    }

    return {
      id,
      status: ({ signal } = {}) =>
        withErrors(context, async () => {
          const run = await find();
          return run.ask(signalOf(signal));
        }),
      events: ({ signal } = {}) => events(signal),
      wait: ({ signal } = {}) => wait(signal).then((run) => run.snapshotNow()),
      result: ({ signal } = {}) =>
        withErrors(context, async () => {
          const run = await wait(signal);
          const { record } = run;
          const failure = failureOf(record);
          if (failure !== undefined) throw failure;
          const outputs = await outputsOf(run, signalOf(signal));
          return {
            jobId: id,
            backend: record.backend,
            attempts: record.attempt,
            outputs,
            named: named<OutputName>(outputs, outputNodes),
            timings: {
              ...record.timings,
              totalMs: (record.finishedAt ?? clock.now()) - record.createdAt,
            },
            metrics: record.metrics ?? undefined,
            cost: record.cost ?? undefined,
            warnings: run.snapshot?.warnings ?? [],
          };
        }),
      cancel: ({ signal } = {}) =>
        withErrors(context, async () => engine.cancel(await find(), signalOf(signal))),
      record: () =>
        withErrors(context, async () => {
          const run = await find();
          return (await store.get(id)) ?? run.record;
        }),
    };
  }

  /** Outputs that can be opened: kept ones, those of this run, or those that the backend still has. */
  async function outputsOf(run: JobRun, signal: AbortSignal): Promise<readonly JobOutput[]> {
    const kept = keptOutputs(run.record, options.artifacts);
    if (kept !== undefined && kept.length > 0) return kept;
    if (run.outputs !== undefined) return run.outputs;
    const ref = run.record.providerRef;
    if (ref === null) return [];
    try {
      const snapshot = await run.backend.status(ref, signal);
      if (snapshot.status === 'succeeded') return snapshot.outputs;
    } catch (error) {
      if (!ComfyUIServiceError.isInstance(error) || error.code !== 'job_not_found') throw error;
    }
    throw new ComfyUIServiceError('result_expired', `The result of job ${run.id} is no longer kept.`, {
      ...run.context,
      hint: 'Collect results sooner, or give the service `artifacts`.',
    });
  }

  const service: ComfyUIService<Name> = {
    async submit(endpoint, inputs, given = {}) {
      const { config, workflow, directory } = endpoint;
      const applied = withWorkflowErrors(config.name, () =>
        applyInputs(config, workflow, Object.fromEntries(Object.entries(inputs))),
      );
      const files = applied.files.map((file) => toJobFile(file, directory));
      return send(
        { endpoint: config.name, workflow: applied.workflow, files },
        { outputNodes: nodesOf(endpoint), gpu: config.gpu[0] },
        given,
      );
    },
    async submitWorkflow({ workflow, files = {} }, given = {}) {
      const checked = withWorkflowErrors(undefined, () => parseApiWorkflow(workflow));
      const jobFiles = Object.entries(files).map(([name, source]): JobFile => ({ name, source }));
      const bare = { outputNodes: {}, gpu: undefined };
      return send({ endpoint: undefined, workflow: checked, files: jobFiles }, bare, given);
    },
    async run(endpoint, inputs, given = {}) {
      const handle = await service.submit(endpoint, inputs, given);
      const waiting = given.signal === undefined ? {} : { signal: given.signal };
      try {
        return await handle.result(waiting);
      } catch (error) {
        if (given.signal?.aborted === true && !closed.signal.aborted) {
          // The caller gave up: the job must not go on costing money.
          await handle.cancel({ signal: AbortSignal.timeout(CANCEL_ON_ABORT_MS) }).catch(() => undefined);
        }
        throw error;
      }
    },
    job: (id, endpoint) => referenceOf(id, endpoint === undefined ? {} : nodesOf(endpoint), () => runOf(id)),
    jobs: { list: (filter, page) => withErrors({}, () => store.list(filter, page)) },
    routes,
    costs: ({ by, ...filter }) => withErrors({}, () => store.costs(by, filter)),
    async health({ signal } = {}) {
      const limited = signalOf(signal);
      const storing = store.stateRevision().then(
        (): ServiceHealth['store'] => ({ ok: true }),
        (error: unknown): ServiceHealth['store'] => ({ ok: false, error: messageOf(error) }),
      );
      const found = await Promise.all(
        [...backends.values()].map(async (backend): Promise<BackendEntry> => {
          try {
            const health = await backend.health(limited);
            const told = health === undefined ? {} : { health };
            return [backend.name, { ...backend.state, ok: true, ...told }];
          } catch (error) {
            return [backend.name, { ...backend.state, ok: false, error: messageOf(error) }];
          }
        }),
      );
      const stored = await storing;
      return {
        ok: stored.ok && found.every(([, { ok }]) => ok),
        jobsInFlight: engine.size,
        store: stored,
        backends: Object.fromEntries(found),
      };
    },
    recover: () => withErrors({}, () => engine.maintain()),
    async notice({ jobId: named, envelope }) {
      const [, jobId = named, attempt] = /^(.+)\.(\d+)$/.exec(named) ?? [];
      const run = await runOf(jobId);
      if (run.hasEnded) return;
      // What is said of an attempt that is over says nothing about the one that replaced it.
      const isCurrent = Number(attempt ?? 1) === run.record.attempt;
      const said = isCurrent ? run.backend.adapter.fromWebhook?.(envelope) : undefined;
      // The answer to the submission was lost; here is who has the job.
      if (run.record.providerRef === null && said !== undefined && !engine.isSending(run))
        await engine.submitted(run, said.ref);
      const isEnd =
        said !== undefined &&
        isTerminal(said.snapshot.status) &&
        said.ref['id'] === run.record.providerRef?.['id'];
      if (!isEnd || !run.backend.scheduler.deliver(run.id, said.snapshot)) run.notice();
    },
    async close() {
      if (closed.signal.aborted) return;
      const reason = new ComfyUIServiceError('service_closed', 'The service was closed.');
      closed.abort(reason);
      await sender?.close();
      await engine.close(reason);
      await Promise.all([...backends.values()].map((backend) => backend.close(reason)));
      await store.close();
    },
    [Symbol.asyncDispose]: () => service.close(),
  };
  if (options.store !== undefined) engine.recoverInBackground();
  return service;
}

/** Tags of a new job. An application that sets {@link QUIET_TAG} itself says the same as with `notify: false`. */
function tagsOf({ tags = [], notify = true }: SubmitOptions): readonly string[] {
  return notify || tags.includes(QUIET_TAG) ? tags : [...tags, QUIET_TAG];
}

function checkWebhooks(webhooks: WebhookOptions = {}): void {
  const wrong = (message: string): ComfyUIServiceError =>
    new ComfyUIServiceError('invalid_configuration', message, {
      hint: 'createWebhookSecret of @ryla/business/webhooks makes one.',
    });
  if (webhooks.incomingUrl !== undefined && (webhooks.incomingSecrets ?? []).length === 0)
    throw wrong('webhooks.incomingUrl needs webhooks.incomingSecrets.');
  if (webhooks.notifyUrl === undefined) return;
  if ((webhooks.notifySecrets ?? []).length === 0)
    throw wrong('webhooks.notifyUrl needs webhooks.notifySecrets.');
  const isPrivate = webhooks.allowPrivateNetworks === true;
  checkReceiverUrl(webhooks.notifyUrl, { allowPrivateNetworks: isPrivate, allowHttp: isPrivate });
  for (const secret of [...(webhooks.incomingSecrets ?? []), ...(webhooks.notifySecrets ?? [])])
    parseWebhookSecret(secret);
}

function defaultRoutes(chosen: string | undefined, names: readonly string[]): RouteTable {
  const first = chosen ?? names[0];
  const route: Route = names.map((backend) => ({
    backend,
    weight: backend === first ? 1 : 0,
    failover: false,
  }));
  return { default: route.length === 0 ? [{ backend: 'none', weight: 1 }] : route };
}

/** Rejects as soon as the caller gives up; `abandon` sees to what was begun. */
async function unlessAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  abandon: () => void,
): Promise<T> {
  if (signal === undefined) return work;
  const aborted = Promise.withResolvers<never>();
  const stop = (): void => {
    abandon();
    aborted.reject(reasonOf(signal));
  };
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function nodesOf({ config }: Pick<EndpointDefinition, 'config'>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(config.outputs).map(([name, { node }]) => [name, node]));
}

function named<OutputName extends string>(
  outputs: readonly JobOutput[],
  nodes: Readonly<Record<string, string>>,
): JobResult<OutputName>['named'] {
  const found: Partial<Record<string, JobOutput>> = {};
  for (const [name, node] of Object.entries(nodes)) {
    const output = outputs.find((candidate) => candidate.nodeId === node);
    if (output !== undefined) found[name] = output;
  }
  return found as JobResult<OutputName>['named'];
}

function toJobFile({ name, source }: StagedFile, directory: string | undefined): JobFile {
  if ('defaultFile' in source)
    return { name, source: { path: path.join(directory ?? '.', source.defaultFile) } };
  return { name, source };
}

function withWorkflowErrors<T>(endpoint: string | undefined, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!WorkflowError.isInstance(error)) throw error;
    const code =
      error.code === 'unknown_input' || error.code === 'missing_input' || error.code === 'invalid_input'
        ? error.code
        : 'invalid_workflow';
    throw new ComfyUIServiceError(code, error.message, {
      endpoint,
      nodeId: error.nodeId,
      cause: error,
      accepted: 'no',
    });
  }
}

/** Errors with all that is known of the job, those of the store included. */
async function withErrors<T>(context: ErrorContext, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translated(error, context);
  }
}

function translated(error: unknown, context: ErrorContext): unknown {
  if (ComfyUIServiceError.isInstance(error)) return error.within(context);
  if (!JobStoreError.isInstance(error)) return error;
  const { code, message, hint, retryable } = error;
  const known =
    code === 'idempotency_conflict' || code === 'unknown_job' || code === 'store_unavailable'
      ? code
      : code === 'invalid_argument'
        ? 'invalid_input'
        : 'store_error';
  return new ComfyUIServiceError(known, message, { ...context, hint, retryable, cause: error });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
