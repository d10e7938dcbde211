/** Runs the same inputs on both sides, and says how they differ. */
import { type Clock, type ComfyUIService, ComfyUIServiceError, systemClock } from '@ryla/business';
import type { Determinism, EndpointDefinition } from '@ryla/workflow';
import { takeInventory } from '@ryla/workflow/node';

import { type ComparedJob, type Comparison, VERSION } from './comparison.ts';
import type { VideoDecoder, VideoReading } from './decoded-video.ts';
import { isVolume, type SideOptions, type Volume } from './costs.ts';
import { latencies } from './latencies.ts';
import { measureJob, type MeasuredJob } from './measured-job.ts';
import {
  type Circumstances,
  floorOf,
  judgedFloor,
  judgePair,
  type Limits,
  limitsWithoutFloor,
  noiseFloors,
  ROUNDING,
} from './noise-floor.ts';
import { pairOutputs, type UnjudgedPair } from './pair-outputs.ts';
import { type Arm, ARMS, schedule } from './schedule.ts';
import { seeded } from '../seeded.ts';
import { shownInputs } from './shown-inputs.ts';
import { dropThumbnails, worstPairs } from './shown-pairs.ts';
import { costRatioOf, sideOf } from './sides.ts';
import { checksOf, type Findings, parityOf, verdictOf } from './verdict.ts';

/** Options of {@link compareBackends}. */
export interface CompareOptions<Inputs extends object> {
  /** Has both backends. Its jobs are tagged {@link COMPARE_TAG}: gates do not count them, and no application is told of them. */
  readonly service: Pick<ComfyUIService, 'run'>;
  readonly endpoint: EndpointDefinition<Inputs>;
  /** Inputs of the runs, in turn; see {@link variedInputs}. Files must be readable again and again: no streams. */
  readonly inputs: readonly Inputs[];
  readonly old: SideOptions;
  readonly new: SideOptions;
  /** Runs; each is two jobs on the old side and one on the new. 30 or more, or cost and latency stay unsure. */
  readonly runs: number;
  /** How many jobs the team runs: what a month costs, idle time included, is then a check of the verdict. */
  readonly volume?: Volume;
  /** Whole number that decides the order; 1 without it. */
  readonly seed?: number;
  /** Determinism of the workflow; by its nodes without it. */
  readonly determinism?: Pick<Determinism, 'class' | 'why'>;
  /** What rounding may do where noise is drawn on the CPU; {@link ROUNDING} without it. */
  readonly rounding?: Limits;
  /** Decodes videos; without it a person must look at those whose bytes differ. */
  readonly videoFrames?: VideoDecoder;
  /** Aborting it cancels the running job and rejects. */
  readonly signal?: AbortSignal;
  /** Hears of every job that has ended. */
  readonly onProgress?: (progress: CompareProgress) => void;
  readonly clock?: Pick<Clock, 'now'>;
}

/** How far a comparison is. */
export interface CompareProgress {
  readonly done: number;
  readonly total: number;
  readonly job: ComparedJob;
}

/** Runs that one comparison may have; every run is three jobs that cost money. */
export const MAXIMUM_RUNS = 10_000;

const NEVER = new AbortController().signal;

/**
 * Runs the same inputs on both sides in random order, one job after the other, and the old side twice: what the old side differs
 * from itself is the noise floor that pictures of the new side are judged against.
 *
 * @throws {ComfyUIServiceError} `invalid_input` for options that cannot be, and the service's errors that every job would have.
 */
export async function compareBackends<Inputs extends object>(
  options: CompareOptions<Inputs>,
): Promise<Comparison> {
  check(options);
  const { service, endpoint, runs, seed = 1, signal = NEVER, clock = systemClock } = options;
  const createdAt = new Date(clock.now()).toISOString();
  const videos = options.videoFrames === undefined ? {} : { videoFrames: options.videoFrames };
  const bench = { service, endpoint, signal, clock };
  const jobs: ComparedJob[] = [];
  const pairs: UnjudgedPair[] = [];
  const waiting = new Map<number, Map<Arm, MeasuredJob>>();
  const turns = schedule(runs, seeded(seed));
  for (const turn of turns) {
    const measured = await measureJob(
      bench,
      turn,
      inputsOf(options, turn.run),
      sideOptions(options, turn.arm),
    );
    jobs.push(measured.job);
    options.onProgress?.({ done: jobs.length, total: turns.length, job: measured.job });
    const run = waiting.get(turn.run) ?? new Map<Arm, MeasuredJob>();
    waiting.set(turn.run, run.set(turn.arm, measured));
    if (run.size < ARMS.length) continue;
    pairs.push(...(await pairsOf(turn.run, run, { ...videos, signal })));
    dropThumbnails(pairs);
    waiting.delete(turn.run);
  }
  return judged({ ...options, seed, createdAt }, jobs, pairs);
}

function check<Inputs extends object>({
  runs,
  seed = 1,
  inputs,
  old,
  new: now,
  volume,
}: CompareOptions<Inputs>): void {
  const wrong = (message: string): never => {
    throw new ComfyUIServiceError('invalid_input', message);
  };
  if (!Number.isSafeInteger(runs) || runs < 1 || runs > MAXIMUM_RUNS)
    wrong(`runs is a whole number from 1 to ${MAXIMUM_RUNS}, not ${runs}.`);
  if (!Number.isSafeInteger(seed)) wrong(`seed is a whole number, not ${seed}.`);
  if (volume !== undefined && !isVolume(volume))
    wrong('volume is a number of jobs a month above 0, and of hours a day above 0 and up to 24.');
  if (inputs.length === 0) wrong('A comparison needs inputs: give at least one set, which may be empty.');
  if (old.backend === now.backend) wrong(`Both sides are ${old.backend}: name two backends.`);
  for (const [name, value] of inputs.flatMap((each) => Object.entries(each)))
    if (typeof value === 'object' && value !== null && 'stream' in value)
      wrong(`Input ${name} is a stream, which can be read once only: give bytes, a path or an address.`);
}

function inputsOf<Inputs extends object>({ inputs }: CompareOptions<Inputs>, run: number): Inputs {
  const chosen = inputs[run % inputs.length];
  if (chosen === undefined) throw new ComfyUIServiceError('invalid_input', 'A comparison needs inputs.');
  return chosen;
}

function sideOptions<Inputs extends object>(options: CompareOptions<Inputs>, arm: Arm): SideOptions {
  return arm === 'new' ? options.new : options.old;
}

/** A job that failed made nothing to compare: it counts as failed. */
async function pairsOf(
  run: number,
  arms: ReadonlyMap<Arm, MeasuredJob>,
  videos: VideoReading,
): Promise<readonly UnjudgedPair[]> {
  const outputsOf = (arm: Arm): MeasuredJob['outputs'] | undefined => {
    const measured = arms.get(arm);
    return measured?.job.status === 'succeeded' ? measured.outputs : undefined;
  };
  const [old, again, now] = [outputsOf('old'), outputsOf('old-again'), outputsOf('new')];
  if (old === undefined) return [];
  return [
    ...(again === undefined ? [] : await pairOutputs(run, 'old-again', old, again, videos)),
    ...(now === undefined ? [] : await pairOutputs(run, 'new', old, now, videos)),
  ];
}

function judged<Inputs extends object>(
  options: CompareOptions<Inputs> & { readonly seed: number; readonly createdAt: string },
  jobs: ComparedJob[],
  unjudged: readonly UnjudgedPair[],
): Comparison {
  const { endpoint, runs, seed, createdAt, rounding = ROUNDING } = options;
  const determinism = options.determinism ?? determinismOf(endpoint);
  const old = sideOf(
    options.old,
    jobs.filter(({ arm }) => arm !== 'new'),
  );
  const now = sideOf(
    options.new,
    jobs.filter(({ arm }) => arm === 'new'),
  );
  const hasOneCard = old.gpus.length === 1 && now.gpus.length === 1 && old.gpus[0] === now.gpus[0];
  const circumstances: Circumstances = { determinism: determinism.class, hasOneCard, rounding };
  const measured = noiseFloors(unjudged, circumstances);
  const unknown = limitsWithoutFloor(circumstances);
  const pairs = unjudged.map((pair) =>
    judgePair(pair, floorOf(measured, pair)?.limits ?? unknown, circumstances),
  );
  const floors = measured.map((floor) => judgedFloor(floor, pairs));
  const findings: Findings = {
    version: VERSION,
    endpoint: endpoint.config.name,
    createdAt,
    seed,
    runs,
    inputs: Array.from({ length: runs }, (_, run) => shownInputs(inputsOf(options, run))),
    determinism: { class: determinism.class, why: determinism.why },
    sides: { old, new: now },
    jobs,
    pairs,
    floors,
    parity: parityOf(pairs, floors),
    latency: latencies(jobs),
    costRatio: costRatioOf(jobs),
    ...(options.volume === undefined ? {} : { volume: { hoursPerDay: 24, ...options.volume } }),
  };
  const checks = checksOf(findings);
  return {
    ...findings,
    checks,
    verdict: verdictOf(findings, checks),
    thumbnails: worstPairs(unjudged, pairs),
  };
}

function determinismOf<Inputs extends object>({
  workflow,
}: EndpointDefinition<Inputs>): Pick<Determinism, 'class' | 'why'> {
  const found = takeInventory(workflow).determinism;
  return found ?? { class: 'unknown', why: 'The workflow has nodes that are not known here.' };
}
