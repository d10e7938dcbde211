import { randomUUID } from 'node:crypto';
import path from 'node:path';
import process from 'node:process';

import {
  ComfyUIServiceError,
  type ComfyUIService,
  hasEnded,
  type JobEvent,
  type JobHandle,
  type JobReference,
  type JobStore,
} from '@ryla/business';
import { type BackendKind, BACKENDS, backendName, describeTarget, openStore } from '@ryla/business/config';
import { type EndpointDefinition, type InputValue, parseInputText, WorkflowError } from '@ryla/workflow';
import { type Command, InvalidArgumentError, Option } from 'commander';

import { EXIT, UsageError } from '../exit-codes.ts';
import { freeName } from '../free-name.ts';
import { moment, wholeNumber } from '../option-values.ts';
import { createOutput, dollars, duration, metricsText, type Output, table } from '../output.ts';
import { showProgress } from '../progress.ts';
import { recordDocument, recordText, serviceFor, storedJob } from '../stored-job.ts';
import { refuseUnusable } from '../usable-deployment.ts';
import { findWorkspace, type Workspace } from '../workspace.ts';
import { common, type CommonOptions } from './common-options.ts';

interface RunOptions extends CommonOptions {
  readonly input: Readonly<Record<string, string>>;
  readonly backend?: BackendKind;
  readonly out: string;
  readonly id?: string;
}

/** Adds the commands about jobs. */
export function addJobCommands(program: Command): void {
  withInputs(program.command('run <endpoint>'))
    .description('submit a job, follow it, save what it makes; Ctrl-C cancels the job')
    .option('-o, --out <folder>', 'where the outputs go', 'out')
    .action(async (endpoint: string, options: RunOptions) => run(endpoint, options));

  withInputs(program.command('submit <endpoint>'))
    .description('submit a job and print its id')
    .action(async (endpoint: string, options: RunOptions) =>
      inWorkspace(options, async (workspace, output) => {
        const definition = workspace.endpoint(endpoint);
        const inputs = inputsOf(definition, options);
        const opened = await workspace.open({ shadows: true });
        await using jobs = opened.service;
        refuseUnusable(opened, endpoint, options.backend);
        const handle = await submitJob(jobs, definition, inputs, submitOptions(options, endpoint));
        output.result({ jobId: handle.id, backend: handle.backend }, handle.id);
      }),
    );

  common(program.command('status <id>'))
    .description('what is known of a job now')
    .action(async (id: string, options: CommonOptions) =>
      inWorkspace(options, async (workspace, output) => {
        const stored = await storedJob(workspace, id);
        if (hasEnded(stored)) {
          output.result(recordDocument(stored), recordText(stored, undefined));
          return;
        }
        await using jobs = await serviceFor(workspace, stored);
        const job = jobs.job(id);
        const snapshot = await job.status();
        const record = await job.record();
        output.result(
          { ...recordDocument(record), progress: snapshot.progress },
          recordText(record, snapshot.progress?.value),
        );
      }),
    );

  common(program.command('watch <id>'))
    .description('follow a job until it ends; leaving it does not stop it')
    .option('-o, --out <folder>', 'save what it makes there')
    .action(async (id: string, options: CommonOptions & { readonly out?: string }) =>
      inWorkspace(options, async (workspace, output) => {
        await using jobs = await serviceFor(workspace, await storedJob(workspace, id));
        await follow(jobs.job(id), output, options.out);
      }),
    );

  common(program.command('cancel <id>'))
    .description('ask the backend to stop a job')
    .action(async (id: string, options: CommonOptions) =>
      inWorkspace(options, async (workspace, output) => {
        await using jobs = await serviceFor(workspace, await storedJob(workspace, id));
        const job = jobs.job(id);
        await job.cancel();
        const { status } = await job.wait({ signal: AbortSignal.timeout(CANCEL_WAIT_MS) });
        output.result({ jobId: id, status }, `${id} ${status}`);
      }),
    );

  common(program.command('jobs'))
    .description('stored jobs, newest first')
    .option('-e, --endpoint <name>', 'only of this endpoint')
    .option(
      '-b, --backend <name>',
      'only on this backend, such as modal:photo-finish; a provider alone with --endpoint',
    )
    .addOption(new Option('-s, --status <status...>', 'only in these states').choices(STATES))
    .option('--since <time>', 'created since; a date, or such as 2h, 30m, 7d', moment)
    .option('--limit <n>', 'how many', wholeNumber, 20)
    .option('--cursor <cursor>', 'go on where the last page ended')
    .action(async (options: JobsOptions) =>
      inWorkspace(options, (workspace, output) => list(workspace, output, options)),
    );

  common(program.command('costs'))
    .description('what stored jobs cost')
    .addOption(
      new Option('--by <what>', 'sum by').choices(['endpoint', 'backend', 'day']).default('endpoint'),
    )
    .option('--since <time>', 'of jobs created since; a date, or such as 2h, 30m, 7d', moment)
    .action(
      async (
        options: CommonOptions & { readonly by: 'endpoint' | 'backend' | 'day'; readonly since?: number },
      ) =>
        inWorkspace(options, async (workspace, output) => {
          await using store = await openStore(workspace);
          const since = options.since === undefined ? {} : { since: options.since };
          const sums = await store.costs(options.by, since);
          const rows = sums.map(({ key, jobs: count, usd }) => [
            key ?? '(bare workflow)',
            String(count),
            dollars(usd),
          ]);
          output.result(
            sums,
            rows.length === 0 ? 'No job has a cost.' : table([options.by, 'jobs', 'cost'], rows),
          );
        }),
    );

  common(program.command('health'))
    .description('ask the store and every deployment how they are')
    .action(async (options: CommonOptions) =>
      inWorkspace(options, async (workspace, output) => {
        const { service, unusable } = await workspace.open();
        await using jobs = service;
        const health = await jobs.health({ signal: AbortSignal.timeout(HEALTH_MS) });
        const rows = Object.entries(health.backends).map(([name, state]) => [
          name,
          state.ok ? 'ok' : 'failed',
          state.breaker,
          state.health === undefined
            ? ''
            : `${state.health.running ?? 0} running, ${state.health.queued ?? 0} queued`,
          state.error ?? '',
        ]);
        for (const [name, error] of unusable) rows.push([name, 'not configured', '', '', error.message]);
        const notConfigured = Object.fromEntries([...unusable].map(([name, error]) => [name, error.message]));
        output.result(
          { ...health, notConfigured },
          table(['backend', 'state', 'breaker', 'jobs', 'problem'], rows),
        );
        if (!health.ok || Object.keys(health.backends).length === 0) process.exitCode = EXIT.failed;
      }),
    );
}

/** Milliseconds that `cancel` waits for the end. */
const CANCEL_WAIT_MS = 30_000;

/** Milliseconds that `health` waits for answers. */
const HEALTH_MS = 15_000;

interface JobsOptions extends CommonOptions {
  readonly endpoint?: string;
  readonly backend?: string;
  readonly status?: readonly (typeof STATES)[number][];
  readonly since?: number;
  readonly limit: number;
  readonly cursor?: string;
}

const STATES = [
  'queued',
  'running',
  'canceling',
  'succeeded',
  'failed',
  'canceled',
  'expired',
  'lost',
] as const;

async function list(workspace: Workspace, output: Output, options: JobsOptions): Promise<void> {
  const { endpoint, since, limit, cursor } = options;
  const backend = backendFilter(options);
  await using jobs: JobStore = await openStore(workspace);
  const page = await jobs.list(
    {
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(backend === undefined ? {} : { backend }),
      ...(options.status === undefined ? {} : { status: options.status }),
      ...(since === undefined ? {} : { since }),
    },
    { limit, cursor },
  );
  const rows = page.jobs.map((job) => [
    job.id,
    job.backend,
    job.status,
    new Date(job.createdAt).toISOString().slice(0, 19).replace('T', ' '),
    duration(job.timings.executionMs),
    dollars(job.cost?.usd),
    job.error?.code ?? '',
  ]);
  const more = page.next === undefined ? '' : `\nMore: --cursor ${page.next}`;
  output.result(
    { jobs: page.jobs.map(recordDocument), next: page.next },
    rows.length === 0
      ? 'No jobs.'
      : `${table(['id', 'backend', 'status', 'created (UTC)', 'execution', 'cost', 'error'], rows)}${more}`,
  );
}

/** A backend is one endpoint's deployment; a provider says which only together with the endpoint. */
function backendFilter({ backend, endpoint }: JobsOptions): string | undefined {
  const provider = BACKENDS.find((each) => each === backend);
  if (provider === undefined) return backend;
  if (endpoint !== undefined) return backendName(provider, endpoint);
  throw new UsageError(`--backend ${provider} needs --endpoint, or write it as ${provider}:<endpoint>.`);
}

/** Submits; inputs that the endpoint does not take are a wrong command line. */
async function submitJob(
  jobs: ComfyUIService,
  endpoint: EndpointDefinition,
  inputs: Readonly<Record<string, InputValue>>,
  options: Parameters<ComfyUIService['submit']>[2],
): Promise<JobHandle> {
  try {
    return await jobs.submit(endpoint, inputs, options);
  } catch (error) {
    // Without a job's id it was refused before a job was made of it.
    if (ComfyUIServiceError.isInstance(error) && error.jobId === undefined && INPUT_ERRORS.has(error.code))
      throw new UsageError(error.message, error.code, { cause: error });
    throw error;
  }
}

const INPUT_ERRORS: ReadonlySet<string> = new Set(['unknown_input', 'missing_input', 'invalid_input']);

async function run(name: string, options: RunOptions): Promise<void> {
  await inWorkspace(options, async (workspace, output) => {
    const definition = workspace.endpoint(name);
    const inputs = inputsOf(definition, options);
    const opened = await workspace.open({ shadows: true });
    await using jobs = opened.service;
    refuseUnusable(opened, name, options.backend);
    const stop = new AbortController();
    let interruptions = 0;
    const interrupt = (): void => {
      interruptions += 1;
      // A second Ctrl-C leaves the job to itself.
      if (interruptions > 1) process.exit(EXIT.interrupted);
      output.note('Canceling the job; press Ctrl-C again to leave it running.');
      stop.abort();
    };
    process.on('SIGINT', interrupt);
    process.on('SIGTERM', interrupt);
    // Minted here, so that a job that is given up while it is sent can be named.
    const jobId = options.id ?? randomUUID();
    try {
      const handle = await submitJob(jobs, definition, inputs, {
        ...submitOptions(options, name),
        jobId,
        signal: stop.signal,
      });
      output.note(`Job ${handle.id} on ${handle.backend}`);
      stop.signal.addEventListener('abort', () => void handle.cancel().catch(() => undefined), {
        once: true,
      });
      await follow(handle, output, path.join(options.out, name));
    } catch (error) {
      if (!stop.signal.aborted || !isCancellation(error)) throw error;
      output.result({ jobId, status: 'canceled' }, `${jobId} canceled`);
    }
    if (stop.signal.aborted) process.exitCode = EXIT.interrupted;
  });
}

function isCancellation(error: unknown): boolean {
  if (ComfyUIServiceError.isInstance(error)) return error.code === 'canceled' || error.code === 'aborted';
  return error instanceof Error && error.name === 'AbortError';
}

async function follow(job: JobReference, output: Output, out: string | undefined): Promise<void> {
  const show = showProgress(process.stderr);
  try {
    for await (const event of job.events()) show.event(event satisfies JobEvent);
  } finally {
    show.close();
  }
  const result = await job.result();
  const files: string[] = [];
  if (out !== undefined) {
    for (const made of result.outputs) files.push(await made.save(freeName(path.resolve(out), made.name)));
  }
  const { jobId, backend, attempts, timings, metrics, cost, warnings } = result;
  const document = {
    jobId,
    backend,
    status: 'succeeded',
    attempts,
    outputs: files,
    timings,
    metrics: metrics ?? null,
    cost,
    warnings,
  };
  const lines = [
    ...files.map((file) => path.relative(process.cwd(), file)),
    `${duration(timings.totalMs)} in all: queue ${duration(timings.queueMs)}, cold start ${duration(timings.coldStartMs)}, execution ${duration(timings.executionMs)}; cost ${dollars(cost?.usd)}`,
    ...(metrics === undefined ? [] : [metricsText(metrics) ?? '']),
    ...warnings.map((warning) => `Warning: ${warning}`),
  ];
  output.result(document, lines.join('\n'));
}

function submitOptions(options: RunOptions, endpoint: string): { backend?: string; jobId?: string } {
  return {
    ...(options.backend === undefined ? {} : { backend: backendName(options.backend, endpoint) }),
    ...(options.id === undefined ? {} : { jobId: options.id }),
  };
}

function inputsOf({ config }: EndpointDefinition, { input }: RunOptions): Record<string, InputValue> {
  return Object.fromEntries(Object.entries(input).map(([name, text]) => [name, valueOf(config, name, text)]));
}

function valueOf(config: EndpointDefinition['config'], name: string, text: string): InputValue {
  try {
    return parseInputText(config, name, text);
  } catch (error) {
    if (!WorkflowError.isInstance(error)) throw error;
    throw new UsageError(error.message, error.code, { cause: error });
  }
}

/** Runs a command's body; says on stderr where it acts. */
export async function inWorkspace(
  options: CommonOptions,
  body: (workspace: Workspace, output: Output) => Promise<void>,
): Promise<void> {
  const output = createOutput(options.json === true);
  const workspace = await findWorkspace(options.target);
  output.note(`Target: ${describeTarget(workspace)}`);
  await body(workspace, output);
}

function withInputs(command: Command): Command {
  return common(command)
    .option(
      '-i, --input <name=value>',
      'set an input; repeat for several; a file input takes a path',
      pair,
      {},
    )
    .addOption(
      new Option('-b, --backend <provider>', 'only there; without it the routes decide').choices(BACKENDS),
    )
    .option('--id <uuid>', "the job's id; the same id is the same job");
}

function pair(text: string, before: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Write an input as name=value.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
