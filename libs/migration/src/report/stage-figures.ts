/** Stages and gates in words, for every form of the report. */
import { usd } from '../compare/wording.ts';
import { GATES, type GateName, type NamedGateResult } from '../gates/gates.ts';
import { compareStages, type Stage } from '../stages/stage.ts';
import type { StageChange } from '../stages/stage-state.ts';
import type { SeriesArm } from './job-series.ts';
import type { MigrationRecord } from './migration-record.ts';
import { NONE } from './table.ts';

/** Words of a stage. */
export const STAGE_WORDS: Readonly<Record<Stage, string>> = {
  off: 'off',
  models_verified: 'models verified',
  shadow: 'shadow',
  canary_1: 'canary 1 %',
  canary_5: 'canary 5 %',
  canary_25: 'canary 25 %',
  canary_50: 'canary 50 %',
  live: 'live',
  ramp_down: 'ramp-down',
  complete: 'complete',
};

const GATE_WORDS: Readonly<Record<GateName, string>> = {
  errorRate: 'Jobs that fail',
  queueP95: 'Queue, p95',
  coldStartP95: 'Cold start, p95',
  executionP95: 'Execution, p95',
  costPerPicture: 'Cost of an output',
  parity: 'Outputs that differ',
  missing: 'Jobs without measurements',
};

/** What a gate says, and what its class in the page is. */
export interface GateVerdict {
  readonly state: 'pass' | 'fail' | 'unsure';
  readonly text: string;
}

/** Passes, misses, or how many more jobs it needs. */
export function gateVerdict({ state, available, needed, current }: NamedGateResult): GateVerdict {
  if (state === 'fine') return { state: 'pass', text: 'passes' };
  if (state === 'worse') return { state: 'fail', text: 'misses' };
  const more = needed === undefined ? 0 : needed - available;
  if (more > 0) return { state: 'unsure', text: `needs about ${count(more)} more jobs` };
  return { state: 'unsure', text: current === undefined ? 'not measured' : 'not sure yet' };
}

/** Heading of {@link gateRow}; the verdict comes first. */
export const GATE_COLUMNS = [
  'Gate',
  'Result',
  'Old',
  'New',
  'Surely between',
  'Goes on below',
  'Rolled back above',
  'Jobs looked at',
] as const;

/** Cells of {@link GATE_COLUMNS}. */
export function gateRow(result: NamedGateResult): readonly string[] {
  const { gate, current, baseline, interval, lines, looked, available } = result;
  const isRatio = gate !== 'parity' && gate !== 'missing';
  const line = (value: number): string => (isRatio ? `${short(value)} times` : share(value));
  const negligible = lines.negligible > 0 ? `, or ${figure(gate, lines.negligible)}` : '';
  return [
    GATE_WORDS[gate],
    gateVerdict(result).text,
    figure(gate, baseline),
    figure(gate, current),
    between(interval, isRatio),
    `${line(lines.advanceBelow)}${negligible}`,
    line(lines.rollBackAbove),
    looked === available ? count(looked) : `${count(looked)} of ${count(available)}`,
  ];
}

/** Gates that ryla.migration.json leaves out; undefined without any, or before gates are looked at. */
export function unjudgedText({ gates }: Pick<MigrationRecord['status'], 'gates'>): string | undefined {
  const names = GATES.filter((name) => !gates.some(({ gate }) => gate === name));
  if (gates.length === 0 || names.length === 0) return undefined;
  return `Not judged, by ryla.migration.json: ${names.map((name) => GATE_WORDS[name]).join('; ')}.`;
}

/** Where an endpoint stands, in a sentence. */
export function stageSentence(record: MigrationRecord): string {
  const { status } = record;
  const { endpoint, effective, next, blockers, alarms, state } = status;
  const held = state.hold === null ? '' : ', held';
  const at = `${endpoint} is at ${STAGE_WORDS[effective]}${held}`;
  if (alarms.length > 0) return `${at} and is to be rolled back: ${alarms[0]?.message ?? ''}`;
  const last = state.history.at(-1);
  const wasRolledBack = last !== undefined && isRollback(last) && last.to === state.stage;
  const back = wasRolledBack
    ? `, rolled back from ${STAGE_WORDS[last.from]} by ${who(last)} on ${moment(last.at)}`
    : '';
  if (next === undefined) return `${at}: the old side is no longer needed.`;
  if (blockers.length === 0) return `${at}${back}: nothing stands before ${STAGE_WORDS[next]}.`;
  const gates = blockers.filter(({ gate }) => gate !== undefined).length;
  const missing =
    gates === 0 ? (blockers[0]?.message ?? '') : `${gates} of ${status.gates.length} gates do not pass yet.`;
  return `${at}${back}; before ${STAGE_WORDS[next]}: ${missing}`;
}

/** Gates of the next stage in a cell, as `5 of 7 pass`. */
export function gatesCell({ status: { gates } }: MigrationRecord): string {
  if (gates.length === 0) return 'from shadow on';
  return `${gates.filter(({ state }) => state === 'fine').length} of ${gates.length} pass`;
}

/** What is known of a stage beside its name: since when, who holds it, what the file permits. */
export function stageFacts({ status, backends }: MigrationRecord): readonly string[] {
  const { state, permitted, effective, shadow, next } = status;
  const last = state.history.at(-1);
  const hold = state.hold;
  return [
    `Old: ${backends.old}. New: ${backends.new}.`,
    last === undefined
      ? 'Nobody has moved it yet.'
      : `Since ${moment(last.at)}, by ${who(last)}: “${last.reason}”.`,
    ...(hold === null ? [] : [`Held since ${moment(hold.at)} by ${hold.by}: “${hold.reason}”.`]),
    `ryla.migration.json permits ${STAGE_WORDS[permitted]}${permitted === effective && next !== undefined ? ' and no more' : ''}.`,
    ...(state.stage === effective
      ? []
      : [`The job store has ${STAGE_WORDS[state.stage]}, which the file no longer permits.`]),
    `Shadow jobs today: ${count(shadow.jobs)}, ${usd(shadow.usd)} of ${usd(shadow.usdPerDay)}.`,
  ];
}

/** Heading of {@link historyRows}. */
export const HISTORY_COLUMNS = ['When', 'Stage', 'By', 'Why'] as const;

/** One move. */
export interface HistoryRow {
  readonly isRollback: boolean;
  readonly cells: readonly string[];
}

/** Every move that the store remembers, the newest first. */
export function historyRows({ status: { state } }: MigrationRecord): readonly HistoryRow[] {
  return state.history.toReversed().map((change) => ({
    isRollback: isRollback(change),
    cells: [
      moment(change.at),
      `${isRollback(change) ? 'rolled back: ' : ''}${STAGE_WORDS[change.from]} to ${STAGE_WORDS[change.to]}`,
      who(change),
      change.reason,
    ],
  }));
}

/** Heading of {@link totalRows}. */
export const TOTAL_COLUMNS = ['Jobs of the migration', 'Old', 'New'] as const;

/** What the job store has of both sides. */
export function totalRows({ series: { totals } }: MigrationRecord): readonly (readonly string[])[] {
  const both = (name: string, valueOf: (arm: SeriesArm) => string): readonly string[] => [
    name,
    valueOf('old'),
    valueOf('new'),
  ];
  return [
    both('Jobs', (arm) => count(totals[arm].jobs)),
    both('of them shadow jobs', (arm) => count(totals[arm].shadows)),
    both('Failed', (arm) => ofAll(totals[arm].failed, totals[arm].jobs)),
    both('Lost', (arm) => count(totals[arm].lost)),
    both('Whole job, p95', (arm) => milliseconds(totals[arm].p95Ms ?? undefined)),
    both('Cost, reckoned', (arm) => usd(totals[arm].usd)),
    both('An output, reckoned', (arm) => {
      const { usd: spent, pricedOutputs } = totals[arm];
      return pricedOutputs === 0 ? 'not known' : usd(spent / pricedOutputs);
    }),
  ];
}

/** What the series is of, in a sentence. */
export function seriesText({ series: { from, to, spanMs, points, isCut } }: MigrationRecord): string {
  if (points.length === 0) return 'No jobs yet: the job store has none of either side in this time.';
  const cut = isCut ? ' There are more jobs than a report reads: the oldest are left out.' : '';
  return `From ${moment(from)} to ${moment(to)}, in spans of ${spanWords(spanMs)}, by the moment in which a job was made. Jobs of comparisons are left out.${cut}`;
}

/** A moment (UTC), to the minute. */
export function moment(at: number): string {
  return `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function isRollback({ from, to }: StageChange): boolean {
  return compareStages(to, from) < 0;
}

function who({ by }: Pick<StageChange, 'by'>): string {
  return by === 'automatic' ? 'the judge (automatic)' : by;
}

function spanWords(milliseconds: number): string {
  const units = [
    [86_400_000, 'day'],
    [3_600_000, 'hour'],
    [60_000, 'minute'],
    [1_000, 'second'],
  ] as const;
  const [unit, name] = units.find(([width]) => milliseconds >= width) ?? [1_000, 'second'];
  const amount = milliseconds / unit;
  return `${amount} ${name}${amount === 1 ? '' : 's'}`;
}

function figure(gate: GateName, value: number | undefined): string {
  if (value === undefined) return gate === 'parity' ? NONE : 'not known';
  switch (gate) {
    case 'errorRate':
    case 'parity':
    case 'missing':
      return share(value);
    case 'costPerPicture':
      return usd(value);
    default:
      return milliseconds(value);
  }
}

function between({ lower, upper }: NamedGateResult['interval'], isRatio: boolean): string {
  const shown = (value: number): string => (isRatio ? short(value) : share(value));
  const unit = isRatio ? ' times' : '';
  if (Number.isFinite(upper) && !(upper >= 1 && lower === 0 && !isRatio))
    return `${shown(lower)} and ${shown(upper)}${unit}`;
  return lower > 0 ? `at least ${shown(lower)}${unit}` : 'nothing known yet';
}

function milliseconds(value: number | undefined): string {
  if (value === undefined) return 'none';
  return value < 1_000 ? `${Math.round(value)} ms` : `${Number((value / 1_000).toPrecision(3))} s`;
}

function ofAll(some: number, all: number): string {
  return all === 0 ? count(some) : `${count(some)} (${share(some / all)})`;
}

function share(value: number): string {
  return `${short(value * 100)} %`;
}

function short(value: number): string {
  return String(Number(Number(value.toPrecision(3)).toFixed(4)));
}

function count(value: number): string {
  return value.toLocaleString('en');
}
