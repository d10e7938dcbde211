/** The whole migration, step by step. */
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { type JobRecord, type JobStore, sqliteJobStore } from '@ryla/business';
import { type Stage } from '@ryla/migration';

import { type Advancing, advanceTo, type Refused, tryNext } from './advancing.ts';
import type { Resource } from './clouds.ts';
import { Commands } from './commands.ts';
import { type Counted, countRun, type Told, USD_PER_DAY } from './count.ts';
import type { RunOptions } from './options.ts';
import { PreparedRun, RUNPOD_IDS } from './prepared-run.ts';
import { SERVICES, Traffic } from './processes.ts';
import { watchSpend } from './spend.ts';
import { completeImport, ENDPOINTS, setCap } from './team-workspace.ts';
import { Timeline } from './timeline.ts';
import { until } from './until.ts';

/** The endpoint whose new side breaks, at which stage, and at which node: one that only its workflow has. */
export const BROKEN = { endpoint: 'flux-schnell', stage: 'canary_25', node: 'CLIPTextEncodeFlux' } as const;

/** Jobs of users that are waited for where something must not happen. */
const WATCHED_JOBS = 20;

/** Milliseconds within which the judge has to see a side on which every job fails. */
const JUDGED_MS = 10 * 60 * 1_000;

const MINUTE_MS = 60_000;

/** Runs all of it and counts. */
export async function migrationRun(
  options: RunOptions,
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<Counted> {
  const timeline = new Timeline(tell);
  await using run = await PreparedRun.make(options, signal);
  const gigabytes = (options.bytes / 1e9).toFixed(2);
  timeline.note('clouds', `RunPod: 2 endpoints, 2 templates, ${gigabytes} GB in ${options.files} files`);
  if (options.keep) timeline.note('folder', `${run.folder}; workspace ${run.clone.root}`);
  const commands = new Commands(run.clone, signal);
  try {
    await beforeTraffic(run, commands, timeline, options);
    await using traffic = new Traffic(run.clone.root, ENDPOINTS);
    await traffic.startServices();
    timeline.note('services', '3 processes on one job store, each judging');
    await using store = await sqliteJobStore({ path: path.join(run.clone.root, '.ryla/local/jobs.db') });
    await using spend = watchSpend(store, ENDPOINTS);
    traffic.startClient(options.rate, options.seed);
    timeline.note('client', `${options.rate} jobs/s, in turn of each endpoint`);
    const refusals: Refused[] = [];
    const stages = new StagesStep(run, { commands, timeline, refusals, signal }, traffic, store);
    const told = await Promise.race([stages.all(), traffic.failed]);
    const ledger = await traffic.stopClient();
    timeline.note('client', `${ledger.asked} jobs asked for, ${ledger.succeeded} pictures`);
    const checks = countRun({
      ledger,
      refusals,
      told,
      events: traffic.events,
      services: SERVICES,
      endpoints: ENDPOINTS,
      runs: run.engine.runs(),
      records: await allJobs(store),
      spend: spend.samples,
      stages: await store.listState('migration/stage/'),
    });
    return { held: checks.every(({ held }) => held), checks, timeline: timeline.moments };
  } finally {
    await commands.write(path.join(run.folder, 'transcript.md')).catch(() => undefined);
  }
}

async function beforeTraffic(
  run: PreparedRun,
  commands: Commands,
  timeline: Timeline,
  options: RunOptions,
): Promise<void> {
  const { clone, clouds } = run;
  const { accessKey, secretKey } = clouds.state.runpod.s3;
  await commands.ryla(['migrate', 'import', '--dry-run']);
  await commands.ryla(['migrate', 'import', '--write']);
  await completeImport(clone, run.models);
  await commands.nx(['sync']);
  await clone.commit('Imported from RunPod');
  timeline.note('import', `${ENDPOINTS.join(', ')}; workflows added by hand`);
  await secret(run, 'ryla-secrets', ['A=1']);
  await secret(run, 'ryla-runpod-s3', [
    `AWS_ACCESS_KEY_ID=${accessKey}`,
    `AWS_SECRET_ACCESS_KEY=${secretKey}`,
  ]);
  await commands.ryla(['migrate', 'volume', '--plan']);
  const copied = await commands.ryla(['migrate', 'volume']);
  timeline.note('volume', /^Files: .*$/m.exec(copied.stdout + copied.stderr)?.[0] ?? 'copied');
  await commands.ryla(['deploy', ...ENDPOINTS]);
  timeline.note('deploy', ENDPOINTS.join(', '));
  const small = ['-i', 'width=256', 'height=256', 'steps=1'];
  for (const endpoint of ENDPOINTS) {
    const runs = ['--runs', String(options.runs), '--seed', String(options.seed)];
    const compared = await commands.ryla(['migrate', 'compare', endpoint, ...runs, ...small]);
    timeline.note('compare', /^.* from .*$/m.exec(compared.stdout)?.[0].slice(0, 160) ?? endpoint);
  }
}

async function secret({ clouds }: PreparedRun, name: string, values: readonly string[]): Promise<void> {
  const { code, stderr } = await clouds.modal(['secret', 'create', name, ...values]);
  if (code !== 0) throw new Error(`modal secret create ${name}: ${stderr}`);
}

async function allJobs(store: JobStore): Promise<readonly JobRecord[]> {
  const all: JobRecord[] = [];
  let cursor: string | undefined;
  do {
    const page = await store.list({}, { limit: 1_000, cursor });
    all.push(...page.jobs);
    cursor = page.next;
  } while (cursor !== undefined);
  return all;
}

/** From the first shadow job to the end of RunPod. */
class StagesStep {
  readonly #run: PreparedRun;
  readonly #advancing: Advancing;
  readonly #traffic: Traffic;
  readonly #store: JobStore;

  constructor(run: PreparedRun, advancing: Advancing, traffic: Traffic, store: JobStore) {
    this.#run = run;
    this.#advancing = advancing;
    this.#traffic = traffic;
    this.#store = store;
  }

  async all(): Promise<Told> {
    const other = this.#toLive('z-image-turbo', 'off');
    // Where the first of both fails, the second is not waited for.
    other.catch(() => undefined);
    await this.#to(BROKEN.endpoint, BROKEN.stage, 'off');
    const brokenAt = await this.#breakAndMend();
    await Promise.all([this.#toLive(BROKEN.endpoint, 'models_verified'), other]);
    const cap = await this.#lowerTheCap();
    await Promise.all(ENDPOINTS.map((name) => this.#to(name, 'ramp_down', 'live')));
    await Promise.all(ENDPOINTS.map((name) => this.#to(name, 'complete', 'ramp_down')));
    return { brokenAt, broken: BROKEN.endpoint, ...cap, ...(await this.#finish()) };
  }

  async #toLive(endpoint: string, from: Stage): Promise<void> {
    await this.#to(endpoint, 'live', from);
    const reasons = await tryNext(this.#advancing, endpoint, 'live', 'too early');
    if (reasons === undefined) throw new Error(`${endpoint} left live without a job.`);
  }

  #to(endpoint: string, to: Stage, from: Stage): Promise<void> {
    return advanceTo(this.#advancing, endpoint, to, from);
  }

  /** Everything fails on the new side of one endpoint, until the judge has seen it. */
  async #breakAndMend(): Promise<number> {
    const { timeline, commands, signal } = this.#advancing;
    const { endpoint, node } = BROKEN;
    const brokenAt = Date.now();
    await this.#run.engine.breakNode('modal', node);
    timeline.note('fault', `${node} fails on Modal: every job of ${endpoint}`);
    const isBack = (): boolean =>
      this.#traffic.events.some(({ told }) => told.type === 'rollback' && told.endpoint === endpoint);
    await until('The automatic rollback', isBack, { ms: JUDGED_MS, signal });
    timeline.note(
      'rollback',
      `${endpoint}, by the judge, ${((Date.now() - brokenAt) / 1000).toFixed(0)} s later`,
    );
    await commands.ryla(['migrate', 'status', endpoint]);
    await commands.ryla(['migrate', 'advance', endpoint], [3]);
    await this.#watch(endpoint);
    await this.#run.engine.mend('modal');
    await commands.ryla(['migrate', 'resume', endpoint]);
    timeline.note('fault', 'mended; the hold is ended');
    return brokenAt;
  }

  /** No shadow job any more, as soon as the file says so, while users' jobs go on. */
  async #lowerTheCap(): Promise<Pick<Told, 'capAt' | 'capUntil'>> {
    const { timeline } = this.#advancing;
    await setCap(this.#run.clone, 0.001);
    const capAt = Date.now();
    timeline.note('spend cap', 'lowered to $0.001 a day, which is spent');
    for (const name of ENDPOINTS) await this.#watch(name);
    const capUntil = Date.now();
    timeline.note('spend cap', `$${USD_PER_DAY} a day again`);
    await setCap(this.#run.clone, USD_PER_DAY);
    return { capAt, capUntil };
  }

  /** Waits for some more jobs of users. */
  async #watch(endpoint: string): Promise<void> {
    const { signal } = this.#advancing;
    const since = Date.now();
    const jobs = async (): Promise<number> =>
      Object.values(await this.#store.count({ endpoint, since })).reduce((sum, each) => sum + each, 0);
    await until(`${WATCHED_JOBS} jobs of ${endpoint}`, async () => (await jobs()) >= WATCHED_JOBS, {
      ms: 5 * MINUTE_MS,
      signal,
    });
  }

  async #finish(): Promise<Pick<Told, 'isCopiedAgain' | 'workers' | 'left'>> {
    const { commands, timeline, signal } = this.#advancing;
    const refused = await commands.ryla(['migrate', 'finish', ...ENDPOINTS], [0, 3]);
    if (refused.code === 3) timeline.note('finish', `refused. ${firstReason(refused.stdout)}`);
    const checked = await commands.ryla(['migrate', 'volume', '--check']);
    timeline.note('volume', /^.*verified.*$/m.exec(checked.stdout)?.[0] ?? 'checked again');
    const second = await commands.ryla(['migrate', 'volume']);
    await commands.ryla(['migrate', 'report', '--jobs-per-month', '30000']);
    let last = await commands.ryla(['migrate', 'finish', ...ENDPOINTS], [0, 3]);
    const deadline = Date.now() + 5 * MINUTE_MS;
    while (last.code === 3 && Date.now() < deadline) {
      await delay(5_000, undefined, { signal });
      last = await commands.ryla(['migrate', 'finish', ...ENDPOINTS], [0, 3]);
    }
    await commands.ryla(['migrate', 'finish', ...ENDPOINTS, '--apply']);
    timeline.note('finish', `applied: ${Object.values(RUNPOD_IDS).join(', ')} have no workers any more`);
    const workers = await this.#run.clouds.workers();
    await commands.ryla(['migrate', 'status']);
    await this.#delete();
    for (const name of ENDPOINTS) await this.#watch(name);
    const isCopiedAgain = /\b[1-9]\d* copied/.test(second.stdout + second.stderr);
    return { isCopiedAgain, workers, left: await this.#run.clouds.resources() };
  }

  /** As a pipeline does it, without a terminal: each by its id and its name. */
  async #delete(): Promise<void> {
    const { commands, timeline } = this.#advancing;
    const there = await this.#run.clouds.resources();
    const finish = ['migrate', 'finish', ...ENDPOINTS];
    const named = (option: string, of: readonly Resource[]): string[] =>
      of.length === 0 ? [] : [option, ...of.map(({ id }) => id), '--confirm', ...of.map(({ name }) => name)];
    const volumes = named('--delete-volume', there.networkVolumes);
    const early = await commands.ryla([...finish, ...volumes], [3]);
    timeline.note('finish', `refused. ${/not deleted\n\s*- (.*)/.exec(early.stdout)?.[1] ?? ''}`);
    await commands.ryla([
      ...finish,
      ...named('--delete-endpoint', there.endpoints),
      ...named('--delete-template', there.templates),
      ...volumes,
    ]);
    timeline.note('finish', 'deleted: endpoints, templates and the network volume');
  }
}

function firstReason(stdout: string): string {
  return (/^\s*- (.*)$/m.exec(stdout)?.[1] ?? '').slice(0, 160);
}
