/** What a comparison measured and found: the JSON that a report is made of. */
import { z } from 'zod';

import { MigrationError } from '../migration-error.ts';
import { ARMS } from './schedule.ts';

const milliseconds = z.number().nonnegative().nullable();

/** Ends of a 95 % interval; `null` where nothing bounds it. */
const interval = z.object({ lower: z.number(), upper: z.number().nullable() });

const output = z.object({
  node: z.string(),
  name: z.string(),
  kind: z.enum(['image', 'video', 'audio', 'text', 'file', 'latent']),
  contentType: z.string(),
  bytes: z.number().int().nonnegative(),
  sha256: z.string(),
});

const job = z.object({
  id: z.string(),
  /** From 0; the three jobs of a run have the same inputs. */
  run: z.number().int().nonnegative(),
  arm: z.enum(ARMS),
  backend: z.string(),
  /** Milliseconds since 1970, by this machine's clock. */
  startedAt: z.number(),
  status: z.enum(['succeeded', 'failed']),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  /** Whether a worker started for it; `untold` where the backend does not say. */
  start: z.enum(['cold', 'warm', 'untold']),
  /** From the submission to the known end, transfers included. */
  totalMs: milliseconds,
  queueMs: milliseconds,
  coldStartMs: milliseconds,
  executionMs: milliseconds,
  gpu: z.string().nullable(),
  /** US dollars of its measured seconds, idle time left out; `null` where card, price or duration is not known. */
  usd: z.number().nonnegative().nullable(),
  outputs: z.array(output),
  warnings: z.array(z.string()),
});

const pair = z.object({
  run: z.number().int().nonnegative(),
  /** `old-again` pairs are the noise floor. */
  against: z.enum(['old-again', 'new']),
  node: z.string(),
  /** Place among the outputs of its node, from 0. */
  index: z.number().int().nonnegative(),
  name: z.string(),
  kind: output.shape.kind,
  /**
   * `same`: equal pixels, text or bytes. `within-noise`: no farther than the old side is from itself. `differs`.
   * `look`: nothing that could be measured decides it; a person must look or listen.
   */
  result: z.enum(['same', 'within-noise', 'differs', 'look']),
  /** Why, in sentences. */
  reasons: z.array(z.string()),
  /** Of decoded pictures of one size, and of the spectrograms of sounds. */
  difference: z
    .object({
      ssimLoss: z.number(),
      hashBits: z.number(),
      meanDifference: z.number(),
      changedShare: z.number(),
      largest: z.number(),
    })
    .nullable(),
});

const distances = z.object({ ssimLoss: z.number(), hashBits: z.number(), meanDifference: z.number() });

const floor = z.object({
  node: z.string(),
  /** Place among the outputs of its node, from 0; `null` where all outputs of the node share a floor. */
  index: z.number().int().nonnegative().nullable(),
  name: z.string(),
  kind: output.shape.kind,
  /** Pairs, old against old. */
  pairs: z.number().int(),
  /** The quantile of each distance that is the floor: 0.99 for one output, nearer to 1 for more. */
  quantile: z.number(),
  noise: distances,
  /** Whether there are enough pairs to be 95 % sure that the quantile is not larger (299 for one output). */
  isSure: z.boolean(),
  /** What an output was allowed: the noise, or the allowance for rounding where that is larger. */
  limits: distances,
  /** Beyond these chance does not explain a difference. */
  farLimits: distances,
  /** Outputs of the new side that could be judged, and those that differ. */
  judged: z.number().int(),
  differing: z.number().int(),
  /** Of them, those beyond `farLimits`, or without a distance. */
  far: z.number().int(),
  /** At most how likely an equal side is to have so many beyond the floor; 1 for none, 0 where any is far. */
  chance: z.number(),
});

const side = z.object({
  backend: z.string(),
  gpus: z.array(z.string()),
  /** Prices that were counted with; `null` for none. */
  prices: z.object({ provider: z.string(), date: z.string(), source: z.string() }).nullable(),
  /** US dollars a second of its worker; `null` where card or price is not known. */
  usdPerSecond: z.number().nonnegative().nullable(),
  /** Seconds that a worker stays after its last job; `null` where not told. */
  idleSeconds: z.number().nonnegative().nullable(),
  jobs: z.number().int(),
  failed: z.number().int(),
  pictures: z.number().int(),
  /** Mean US dollars for an output, idle time left out. */
  usdPerPicture: z.number().nullable(),
  /** Means of jobs that succeeded, in seconds; what {@link projectedCost} reckons with. */
  executionSeconds: z.number().nullable(),
  coldStartSeconds: z.number().nullable(),
  picturesPerJob: z.number().nullable(),
});

const sample = z.object({
  jobs: z.number().int(),
  median: z.number().nullable(),
  medianInterval: interval,
  p95: z.number().nullable(),
  p95Interval: interval,
});

const latency = z.object({
  /** Jobs that this is about; `any` is all of them. */
  start: z.enum(['warm', 'cold', 'any']),
  phase: z.enum(['total', 'queue', 'coldStart', 'execution']),
  /** Milliseconds. */
  old: sample,
  new: sample,
  /** New by old. */
  medianRatio: interval,
  p95Ratio: interval,
});

const check = z.object({
  name: z.enum(['jobs', 'facts', 'parity', 'latency', 'cost', 'month']),
  /** `unsure`: more runs are needed, or something was not measured. `look`: a person must look. */
  state: z.enum(['pass', 'fail', 'unsure', 'look']),
  text: z.string(),
});

const thumbnail = z.object({
  run: z.number().int().nonnegative(),
  node: z.string(),
  index: z.number().int().nonnegative(),
  result: pair.shape.result,
  /** WebP as base64. */
  old: z.base64(),
  new: z.base64(),
  difference: z.base64().nullable(),
});

/** Version of the form; 2 has a noise floor for each output. */
export const VERSION = 2;

/** The form of a comparison. */
export const comparison = z.object({
  version: z.literal(VERSION),
  endpoint: z.string(),
  /** ISO 8601. */
  createdAt: z.iso.datetime(),
  seed: z.number().int(),
  runs: z.number().int().positive(),
  /** Inputs of each run; files by name. */
  inputs: z.array(z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]))),
  determinism: z.object({
    class: z.enum(['exact', 'cpu-noise', 'device-noise', 'remote', 'unknown']),
    why: z.string(),
  }),
  sides: z.object({ old: side, new: side }),
  jobs: z.array(job),
  pairs: z.array(pair),
  /** A noise floor for each output that has distances: pictures, sounds, videos. */
  floors: z.array(floor),
  parity: z.object({
    judged: z.number().int(),
    differing: z.number().int(),
    /** Of them, those so far, or without a distance, that chance does not explain them. */
    far: z.number().int(),
    /** Share of outputs that differ, 95 % interval. */
    interval,
    /** At most how likely equal sides are to have so many beyond the floor of any output; 1 for none, 0 where any is far. */
    chance: z.number(),
    look: z.number().int(),
  }),
  latency: z.array(latency),
  /** Mean cost of an output, new by old, idle time left out; needs 30 jobs on each side. */
  costRatio: interval,
  /** The volume that a month was reckoned for; absent where none was given. */
  volume: z
    .object({ jobsPerMonth: z.number().positive(), hoursPerDay: z.number().positive().max(24) })
    .exactOptional(),
  checks: z.array(check),
  verdict: z.object({ state: z.enum(['ready', 'not-ready', 'unsure', 'look']), sentence: z.string() }),
  /** The pairs that differ most. */
  thumbnails: z.array(thumbnail),
});

/** A whole comparison. */
export type Comparison = z.infer<typeof comparison>;
/** One job of a comparison. */
export type ComparedJob = z.infer<typeof job>;
/** One output of a job. */
export type ComparedOutput = z.infer<typeof output>;
/** One output of the old side beside that of the other job. */
export type ComparedPair = z.infer<typeof pair>;
/** One side, as a whole. */
export type ComparedSide = z.infer<typeof side>;
/** One phase of jobs that began alike, on both sides. */
export type ComparedLatency = z.infer<typeof latency>;
/** Quantiles of one side. */
export type LatencySample = z.infer<typeof sample>;
/** The noise floor of one output. */
export type NoiseFloor = z.infer<typeof floor>;
/** One condition of the verdict. */
export type ComparisonCheck = z.infer<typeof check>;
/** Small pictures of one pair. */
export type PairThumbnails = z.infer<typeof thumbnail>;
/** A 95 % interval. */
export type ComparisonInterval = z.infer<typeof interval>;

/**
 * Reads a comparison that was kept as JSON.
 *
 * @throws {MigrationError} `invalid_file`.
 */
export function parseComparison(text: string, name = 'The comparison'): Comparison {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new MigrationError('invalid_file', `${name} is no JSON.`, {
      cause: error,
      hint: 'Make it anew with `ryla migrate compare`.',
    });
  }
  const other = z.object({ version: z.number() }).safeParse(value);
  if (other.success && other.data.version !== VERSION)
    throw new MigrationError(
      'invalid_file',
      `${name} was made by another release (form ${other.data.version}, not ${VERSION}).`,
      {
        hint: 'Make it anew with `ryla migrate compare`.',
      },
    );
  const checked = comparison.safeParse(value);
  if (checked.success) return checked.data;
  throw new MigrationError('invalid_file', `${name} is no comparison:\n${z.prettifyError(checked.error)}\n`, {
    cause: checked.error,
    hint: 'Make it anew with `ryla migrate compare`.',
  });
}
