/** The figures of a comparison in words, for every form of the report. */
import type {
  ComparedLatency,
  Comparison,
  ComparisonCheck,
  LatencySample,
  NoiseFloor,
} from '../compare/comparison.ts';
import { type ProjectedCost, projectedCost, type Volume } from '../compare/costs.ts';
import { usd } from '../compare/wording.ts';

/** A comparison with what it costs at the team's volume. */
export interface Compared {
  readonly comparison: Comparison;
  readonly volume: Volume | undefined;
  readonly projected: { readonly old: ProjectedCost | undefined; readonly new: ProjectedCost | undefined };
}

/** Words of a verdict's state. */
export const VERDICTS: Readonly<Record<Comparison['verdict']['state'], string>> = {
  ready: 'ready',
  'not-ready': 'not ready',
  unsure: 'not sure yet',
  look: 'needs eyes',
};

/** Words of a check's state. */
export const STATES: Readonly<Record<ComparisonCheck['state'], string>> = {
  pass: 'passes',
  fail: 'fails',
  unsure: 'not sure',
  look: 'look',
};

/** Words of a check. */
export const CHECKS: Readonly<Record<ComparisonCheck['name'], string>> = {
  jobs: 'Jobs',
  facts: 'Exact facts',
  parity: 'Pictures',
  latency: 'Latency',
  cost: 'Cost',
  month: 'A month',
};

/** Words of a pair's result. */
export const RESULTS: Readonly<Record<Comparison['pairs'][number]['result'], string>> = {
  same: 'the same',
  'within-noise': 'within noise',
  differs: 'differs',
  look: 'look',
};

const PHASES: Readonly<Record<ComparedLatency['phase'], string>> = {
  total: 'whole job',
  queue: 'queue',
  coldStart: 'cold start',
  execution: 'execution',
};

/** Adds the costs at a volume. */
export function withVolume(comparison: Comparison, volume: Volume | undefined): Compared {
  const { old, new: now } = comparison.sides;
  return {
    comparison,
    volume,
    projected:
      volume === undefined
        ? { old: undefined, new: undefined }
        : { old: projectedCost(old, volume), new: projectedCost(now, volume) },
  };
}

/** Heading of {@link latencyRows}. */
export const LATENCY_COLUMNS = [
  'Jobs',
  'Old: median',
  'New: median',
  'New by old',
  'Old: p95',
  'New: p95',
] as const;

/** Latencies, cold and warm apart; those of all jobs together where some are neither. */
export function latencyRows({ latency, jobs }: Comparison): readonly (readonly string[])[] {
  const isTold = jobs.every(({ start, status }) => start !== 'untold' || status === 'failed');
  const rows = latency.filter(({ start, phase }) => start !== 'any' || phase === 'total' || !isTold);
  return rows.map(({ start, phase, old, new: now, medianRatio }) => [
    `${start === 'any' ? 'all' : start}, ${PHASES[phase]} (${old.jobs} old, ${now.jobs} new)`,
    quantile(old.median, old.medianInterval),
    quantile(now.median, now.medianInterval),
    ratio(medianRatio),
    quantile(old.p95, old.p95Interval),
    quantile(now.p95, now.p95Interval),
  ]);
}

/** Heading of {@link costRows}. */
export const COST_COLUMNS = ['Cost', 'Old', 'New'] as const;

/** Costs as measured, and at the team's volume. */
export function costRows({ comparison, volume, projected }: Compared): readonly (readonly string[])[] {
  const { old, new: now } = comparison.sides;
  const both = (name: string, valueOf: (side: typeof old) => string): string[] => [
    name,
    valueOf(old),
    valueOf(now),
  ];
  const rows = [
    both('Card', ({ gpus }) => (gpus.length === 0 ? 'not known' : gpus.join(', '))),
    both('Prices', ({ prices }) => (prices === null ? 'none' : `${prices.provider}, ${prices.date}`)),
    both('A second', ({ usdPerSecond }) => money(usdPerSecond)),
    both('An output, as measured, without idle time', ({ usdPerPicture }) => money(usdPerPicture)),
    both('A worker stays idle for', ({ idleSeconds }) =>
      idleSeconds === null ? 'not told' : `${idleSeconds} s`,
    ),
  ];
  if (volume === undefined) return rows;
  const projection = (name: string, valueOf: (cost: ProjectedCost) => string): string[] => [
    name,
    projected.old === undefined ? 'not known' : valueOf(projected.old),
    projected.new === undefined ? 'not known' : valueOf(projected.new),
  ];
  const share = (value: number): string => `${(value * 100).toFixed(1)} %`;
  return [
    ...rows,
    projection('A month at the volume', ({ usdPerMonth }) => usd(usdPerMonth)),
    projection('of it idle time', ({ idleUsd }) => usd(idleUsd)),
    projection('of it cold starts', ({ coldStartUsd }) => usd(coldStartUsd)),
    projection('An output at the volume, idle time in it', ({ usdPerPicture }) => usd(usdPerPicture)),
    projection('Jobs that wait for a cold start', ({ coldShare }) => share(coldShare)),
    projection('One worker is busy for', ({ utilisation }) => share(utilisation)),
  ];
}

/** Idle time above this share of a month's cost is worth a word. */
const MUCH_IDLE = 0.5;

/** What the move does to a month's cost, in sentences; undefined where it is not known. */
export function monthText({ comparison, projected }: Compared): string | undefined {
  const { old, new: now } = projected;
  if (old === undefined || now === undefined) return undefined;
  const month = `At the team's volume a month costs ${usd(now.usdPerMonth)}, ${usd(old.usdPerMonth)} on the old side.`;
  if (now.idleUsd < MUCH_IDLE * now.usdPerMonth) return month;
  const seconds = comparison.sides.new.idleSeconds ?? 0;
  return `${month} ${usd(now.idleUsd)} of it is idle time: a worker of the new side stays ${seconds} s after a job, and fewer seconds cost less and mean more cold starts.`;
}

/** What the judgement of outputs rests on: a sentence, and one for each output that has a noise floor. */
export function noiseTexts({ floors, determinism }: Comparison): readonly string[] {
  const none = floors.length === 0 ? ' No two outputs of the old side have a distance from each other.' : '';
  return [`Determinism ${determinism.class}. ${determinism.why}${none}`, ...floors.map(floorText)];
}

/** An output that has a noise floor, in words. */
export function outputName({ node, index, kind }: Pick<NoiseFloor, 'node' | 'index' | 'kind'>): string {
  const words = {
    image: 'Pictures',
    video: 'Videos',
    audio: 'Sounds',
    text: 'Texts',
    file: 'Files',
    latent: 'Latents',
  };
  const place = index === null ? ', all together' : index === 0 ? '' : `, output ${index + 1}`;
  return `${words[kind]} of node ${node}${place}`;
}

function floorText(floor: NoiseFloor): string {
  const { pairs, quantile, noise, limits, differing, judged } = floor;
  const of = ({ ssimLoss, hashBits, meanDifference }: NoiseFloor['noise']): string =>
    `SSIM loss ${short(ssimLoss)}, pHash ${hashBits} of 64 bits, mean difference ${short(meanDifference)} of 255`;
  const isLargest = Math.ceil(quantile * pairs) >= pairs;
  const from =
    pairs === 0
      ? 'no two of the old side could be compared'
      : `the old side differs from itself by up to ${of(noise)} (${isLargest ? 'the largest' : `p${Number((quantile * 100).toFixed(2))}`} of ${pairs} pairs)`;
  return `${outputName(floor)}: ${from}. Allowed: ${of(limits)}. ${differing} of ${judged} differ.`;
}

/** Inputs of a run, in a line. */
export function inputsText({ inputs }: Comparison, run: number): string {
  return Object.entries(inputs[run] ?? {})
    .map(([name, value]) => `${name}: ${String(value)}`)
    .join(' · ');
}

/** A figure with the digits that count. */
export function short(value: number): string {
  return String(Number(value.toPrecision(2)));
}

function ratio({ lower, upper }: LatencySample['medianInterval']): string {
  if (upper !== null) return `${lower.toFixed(2)} to ${upper.toFixed(2)} times`;
  return lower > 0 ? `at least ${lower.toFixed(2)} times` : 'too few jobs';
}

/** Two figures, or one where they are alike. */
export function change(old: string, now: string): string {
  return old === now ? old : `${old} / ${now}`;
}

/** US dollars, where they are known. */
export function money(value: number | null): string {
  return value === null ? 'not known' : usd(value);
}

/** Milliseconds as seconds. */
export function seconds(milliseconds: number | null): string {
  return milliseconds === null ? 'none' : `${Number((milliseconds / 1_000).toPrecision(3))} s`;
}

function quantile(value: number | null, { lower, upper }: LatencySample['medianInterval']): string {
  if (value === null) return 'none';
  if (upper !== null) return `${seconds(value)} (${seconds(lower)} to ${seconds(upper)})`;
  return lower > 0 ? `${seconds(value)} (at least ${seconds(lower)})` : `${seconds(value)} (too few jobs)`;
}
