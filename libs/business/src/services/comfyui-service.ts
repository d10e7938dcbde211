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

import type { Adapter, ProviderRef } from '../adapter.ts';
import { ComfyUIServiceError, type ErrorContext } from '../errors.ts';
import {
  isTerminal,
  type JobEvent,
  type JobFile,
  type JobResult,
  type JobSnapshot,
  type JobStatus,
  type JobSubmission,
} from '../job.ts';
import type { JobOutput } from '../output.ts';
import { PollScheduler } from '../poll-scheduler.ts';
import { type Clock, RETRY, retryDelay, retryRead, systemClock } from '../retry.ts';
import { submitOnce } from '../submission.ts';

/** Options of {@link createComfyUIService}. */
export interface ComfyUIServiceOptions<Backend extends string = string> {
  /** Backends by name; one that is undefined is not there. */
  readonly adapters: { readonly [Name in Backend]?: Adapter | undefined };
  /** Backend of jobs that name none; the first adapter otherwise. */
  readonly defaultBackend?: Backend;
  readonly clock?: Clock;
}

/** Options of a submission. */
export interface SubmitOptions<Backend extends string = string> {
  readonly backend?: Backend;
  /** The job's id, minted by the caller (a UUID); the service mints one otherwise. */
  readonly jobId?: string;
  readonly signal?: AbortSignal;
}

/** Options of calls that wait. */
export interface WaitOptions {
  readonly signal?: AbortSignal;
}

/** A bare workflow in API format, with the files that it refers to by name. */
export interface BareWorkflow {
  readonly workflow: ApiWorkflow;
  readonly files?: Readonly<Record<string, FileInput>>;
}

/** A job that was submitted. */
export interface JobHandle<OutputName extends string = string> {
  readonly id: string;
  readonly backend: string;
  readonly endpoint: string | undefined;
  /** What the backend says now. */
  status(options?: WaitOptions): Promise<JobSnapshot>;
  /** What happens, live; ends with exactly one `finished`. Leaving the iteration does not stop the job. */
  events(options?: WaitOptions): AsyncIterable<JobEvent>;
  /** Waits for the end, whatever it is. */
  wait(options?: WaitOptions): Promise<JobSnapshot>;
  /** Waits for the end and returns what the job made; rejects with the cause when it made nothing. */
  result(options?: WaitOptions): Promise<JobResult<OutputName>>;
  /** Asks the backend to stop the job. A job that has ended stays as it is. */
  cancel(options?: WaitOptions): Promise<void>;
}

/** Runs ComfyUI workflows on whichever backend. */
export interface ComfyUIService<Backend extends string = string> extends AsyncDisposable {
  /** Submits an endpoint's workflow with typed inputs. */
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
  /** A job of this service by its id; undefined when it was not submitted here. */
  job(id: string): JobHandle | undefined;
  /** Closes connections; whoever still waits gets `service_closed`. Jobs go on. */
  close(): Promise<void>;
}

/** Milliseconds that aborting `run` waits for the cancellation to reach the backend. */
const CANCEL_ON_ABORT_MS = 5_000;

/** Milliseconds under which an event stream counts as brief, so that the next one is opened later. */
const BRIEF_STREAM_MS = 5_000;

/** Makes a service over the given backends. */
export function createComfyUIService<Backend extends string>(
  options: ComfyUIServiceOptions<Backend>,
): ComfyUIService<Backend> {
  const clock = options.clock ?? systemClock;
  const adapters = new Map<string, Adapter>();
  for (const [name, adapter] of Object.entries<Adapter | undefined>(options.adapters)) {
    if (adapter !== undefined) adapters.set(name, adapter);
  }
  const pollers = new Map([...adapters.keys()].map((name) => [name, new PollScheduler(clock)]));
  const jobs = new Map<string, JobHandle>();
  const closed = new AbortController();

  function backendOf(name: string | undefined): {
    readonly name: string;
    readonly adapter: Adapter;
    readonly poller: PollScheduler;
  } {
    const chosen = name ?? options.defaultBackend ?? [...adapters.keys()][0] ?? '';
    const adapter = adapters.get(chosen);
    const poller = pollers.get(chosen);
    if (adapter === undefined || poller === undefined) {
      throw new ComfyUIServiceError(
        'unknown_backend',
        `There is no backend "${chosen}". There are: ${[...adapters.keys()].join(', ')}.`,
      );
    }
    return { name: chosen, adapter, poller };
  }

  function signalOf(given: AbortSignal | undefined): AbortSignal {
    return given === undefined ? closed.signal : AbortSignal.any([given, closed.signal]);
  }

  async function send<OutputName extends string>(
    submission: Omit<JobSubmission, 'jobId'>,
    outputNodes: Readonly<Record<string, string>>,
    submitOptions: SubmitOptions,
  ): Promise<JobHandle<OutputName>> {
    const { name, adapter, poller } = backendOf(submitOptions.backend);
    const job: JobSubmission = { ...submission, jobId: submitOptions.jobId ?? randomUUID() };
    const context: ErrorContext = { jobId: job.jobId, endpoint: job.endpoint, backend: name };
    const submittedAt = clock.now();
    const ref = await inContext(context, () =>
      submitOnce(adapter, job, clock, signalOf(submitOptions.signal)),
    );
    const handle = createHandle<OutputName>({
      adapter,
      poller,
      clock,
      ref,
      context,
      outputNodes,
      submittedAt,
      signalOf,
    });
    jobs.set(job.jobId, handle);
    return handle;
  }

  const service: ComfyUIService<Backend> = {
    async submit(endpoint, inputs, submitOptions = {}) {
      const { config, workflow, directory } = endpoint;
      const applied = withWorkflowErrors(config.name, () =>
        applyInputs(config, workflow, Object.fromEntries(Object.entries(inputs))),
      );
      const files = applied.files.map((file) => toJobFile(file, directory));
      const outputNodes = Object.fromEntries(
        Object.entries(config.outputs).map(([name, { node }]) => [name, node]),
      );
      return send({ endpoint: config.name, workflow: applied.workflow, files }, outputNodes, submitOptions);
    },
    async submitWorkflow({ workflow, files = {} }, submitOptions = {}) {
      const checked = withWorkflowErrors(undefined, () => parseApiWorkflow(workflow));
      const jobFiles = Object.entries(files).map(([name, source]): JobFile => ({ name, source }));
      return send({ endpoint: undefined, workflow: checked, files: jobFiles }, {}, submitOptions);
    },
    async run(endpoint, inputs, submitOptions = {}) {
      const handle = await service.submit(endpoint, inputs, submitOptions);
      const waiting = submitOptions.signal === undefined ? {} : { signal: submitOptions.signal };
      try {
        return await handle.result(waiting);
      } catch (error) {
        if (submitOptions.signal?.aborted === true && !closed.signal.aborted) {
          // The caller gave up: the job must not go on costing money.
          await handle.cancel({ signal: AbortSignal.timeout(CANCEL_ON_ABORT_MS) }).catch(() => undefined);
        }
        throw error;
      }
    },
    job: (id) => jobs.get(id),
    async close() {
      if (closed.signal.aborted) return;
      const reason = new ComfyUIServiceError('service_closed', 'The service was closed.');
      closed.abort(reason);
      for (const poller of pollers.values()) poller.stop(reason);
      await Promise.all([...adapters.values()].map((adapter) => adapter.close()));
    },
    [Symbol.asyncDispose]: () => service.close(),
  };
  return service;
}

interface HandleParts {
  readonly adapter: Adapter;
  readonly poller: PollScheduler;
  readonly clock: Clock;
  readonly ref: ProviderRef;
  readonly context: ErrorContext;
  readonly outputNodes: Readonly<Record<string, string>>;
  readonly submittedAt: number;
  readonly signalOf: (given: AbortSignal | undefined) => AbortSignal;
}

function createHandle<OutputName extends string>(parts: HandleParts): JobHandle<OutputName> {
  const { adapter, poller, clock, ref, context, signalOf } = parts;
  const backend = context.backend ?? '';
  const jobId = context.jobId ?? '';
  let last: JobSnapshot | undefined;
  let endedAt: number | undefined;

  async function ask(signal: AbortSignal): Promise<JobSnapshot> {
    // A final state never changes, and the backend forgets it sooner than the caller may.
    if (last !== undefined && isTerminal(last.status)) return last;
    const snapshot = await inContext(context, () =>
      retryRead(() => adapter.status(ref, { signal }), clock, signal),
    );
    last = { ...snapshot, error: snapshot.error?.within(context) };
    if (isTerminal(last.status)) endedAt ??= clock.now();
    return last;
  }

  async function* events(signal: AbortSignal): AsyncGenerator<JobEvent, void, undefined> {
    const told = new Told();
    if (adapter.events === undefined) {
      for await (const snapshot of poller.watch(jobId, ask, signal)) yield* told.about(snapshot);
      return;
    }
    for (let brief = 1; ; brief += 1) {
      const openedAt = clock.now();
      try {
        for await (const event of adapter.events(ref, { signal })) {
          if (event.type === 'snapshot') {
            if (!isTerminal(event.snapshot.status)) yield* told.about(event.snapshot);
          } else if (event.type === 'preview') yield event;
          else yield* told.output(event.nodeId, event.name);
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!ComfyUIServiceError.isInstance(error)) throw error;
        if (!error.retryable) throw error.within(context);
      }
      // The stream is a hint; this is the truth. It also ends when its time is up: then it is opened again.
      const snapshot = await ask(signal);
      yield* told.about(snapshot);
      if (isTerminal(snapshot.status)) return;
      if (clock.now() - openedAt >= BRIEF_STREAM_MS) brief = 0;
      else
        await clock.sleep(retryDelay(Math.min(brief + 1, RETRY.attempts), undefined, clock.random()), signal);
    }
  }

  async function wait(signal: AbortSignal): Promise<JobSnapshot> {
    for await (const event of events(signal)) if (event.type === 'finished') break;
    return ask(signal);
  }

  return {
    id: jobId,
    backend,
    endpoint: context.endpoint,
    status: ({ signal } = {}) => ask(signalOf(signal)),
    events: ({ signal } = {}) => events(signalOf(signal)),
    wait: ({ signal } = {}) => wait(signalOf(signal)),
    async result({ signal } = {}) {
      const snapshot = await wait(signalOf(signal));
      if (snapshot.status !== 'succeeded') throw failure(snapshot, context);
      return {
        jobId,
        backend,
        outputs: snapshot.outputs,
        named: named(snapshot.outputs, parts.outputNodes),
        timings: { ...snapshot.timings, totalMs: (endedAt ?? clock.now()) - parts.submittedAt },
      };
    },
    async cancel({ signal } = {}) {
      const combined = signalOf(signal);
      await inContext(context, () =>
        retryRead(() => adapter.cancel(ref, { signal: combined }), clock, combined),
      );
    },
  };
}

/** Remembers what was told, so that every change is told once and the end exactly once. */
class Told {
  #status: JobStatus | undefined;
  #position: number | undefined;
  #progress = '';
  #outputs = new Set<string>();

  *about(
    snapshot: Pick<JobSnapshot, 'status' | 'progress' | 'queuePosition'> & Partial<JobSnapshot>,
  ): Generator<JobEvent> {
    const { status, progress, queuePosition } = snapshot;
    if (status === 'queued' && (this.#status !== 'queued' || queuePosition !== this.#position)) {
      yield { type: 'queued', position: queuePosition };
    }
    if (status === 'running' && this.#status !== 'running') {
      const coldStartMs = snapshot.timings?.coldStartMs ?? null;
      yield { type: 'starting', cold: coldStartMs === null ? undefined : coldStartMs > 0 };
    }
    this.#status = status;
    this.#position = queuePosition;
    const shown = progress === undefined ? '' : JSON.stringify(progress);
    if (progress !== undefined && shown !== this.#progress) {
      this.#progress = shown;
      yield { type: 'running', progress };
    }
    for (const output of snapshot.outputs ?? []) yield* this.output(output.nodeId, output.name);
    if (isTerminal(status)) yield { type: 'finished', status, error: snapshot.error };
  }

  *output(nodeId: string, name: string): Generator<JobEvent> {
    const key = `${nodeId}/${name}`;
    if (this.#outputs.has(key)) return;
    this.#outputs.add(key);
    yield { type: 'output', output: { nodeId, name } };
  }
}

function failure(snapshot: JobSnapshot, context: ErrorContext): ComfyUIServiceError {
  if (snapshot.status === 'canceled')
    return new ComfyUIServiceError('canceled', `Job ${context.jobId ?? ''} was canceled.`, context);
  if (snapshot.status === 'expired')
    return new ComfyUIServiceError(
      'result_expired',
      `The result of job ${context.jobId ?? ''} is no longer kept.`,
      context,
    );
  return (
    snapshot.error ??
    new ComfyUIServiceError('backend_error', `Job ${context.jobId ?? ''} failed without a reason.`, context)
  );
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

async function inContext<T>(context: ErrorContext, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw ComfyUIServiceError.isInstance(error) ? error.within(context) : error;
  }
}
