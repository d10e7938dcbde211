/** What a report is of, in a sentence and in a table with a row for each endpoint. */
import type { EndpointBill } from '../bills/bill.ts';
import type { Comparison } from '../compare/comparison.ts';
import { change, type Compared, money, seconds, VERDICTS } from './figures.ts';
import type { MigrationRecord } from './migration-record.ts';
import { NONE } from './table.ts';
import { gatesCell, STAGE_WORDS, stageSentence } from './stage-figures.ts';

/** All that is known of one endpoint. */
export interface Reported {
  readonly endpoint: string;
  /** Undefined where nobody has compared it. */
  readonly compared: Compared | undefined;
  /** Undefined where it is in no migration file. */
  readonly migration: MigrationRecord | undefined;
  /** Undefined where bills were not asked for. */
  readonly bill: EndpointBill | undefined;
}

/** What it all comes to, in a sentence. */
export function overallVerdict(all: readonly Reported[]): string {
  const [only] = all;
  if (only === undefined)
    return 'There is nothing to report: no comparison was made, and no endpoint migrates.';
  if (all.length === 1) return verdictOf(only);
  const stages = all.flatMap(({ endpoint, migration }) =>
    migration === undefined ? [] : `${endpoint} ${STAGE_WORDS[migration.status.effective]}`,
  );
  const parts = [...comparedParts(all), ...(stages.length === 0 ? [] : [`stages: ${stages.join(', ')}`])];
  return `${parts.join('; ')}.`;
}

/** What one endpoint comes to, in a sentence: that of its comparison where there is one. */
export function verdictOf({ endpoint, compared, migration }: Reported): string {
  if (compared !== undefined) return compared.comparison.verdict.sentence;
  return migration === undefined ? `Nothing is known of ${endpoint}.` : stageSentence(migration);
}

function comparedParts(all: readonly Reported[]): readonly string[] {
  const names = (state: Comparison['verdict']['state'] | undefined): string[] =>
    all
      .filter(({ compared }) => compared?.comparison.verdict.state === state)
      .map(({ endpoint }) => endpoint);
  const none = names(undefined);
  if (none.length === all.length) return ['No endpoint was compared yet'];
  const rest = (['not-ready', 'unsure', 'look'] as const)
    .filter((state) => names(state).length > 0)
    .map((state) => `${VERDICTS[state]}: ${names(state).join(', ')}`);
  return [
    `${names('ready').length} of ${all.length} endpoints are ready to move`,
    ...rest,
    ...(none.length === 0 ? [] : [`not compared: ${none.join(', ')}`]),
  ];
}

const STAGE_COLUMNS = ['Stage', 'Gates'] as const;
const MEASURED_COLUMNS = [
  'Outputs that differ',
  'Warm job, old / new',
  'An output, old / new',
  'A month, old / new',
] as const;

/** A table with a row for each endpoint; what is known of none has no column. */
export interface Summary {
  readonly columns: readonly string[];
  /** Endpoint and verdict come first. */
  readonly rows: readonly (readonly string[])[];
}

/** All endpoints. */
export function summaryOf(all: readonly Reported[]): Summary {
  const hasStages = all.some(({ migration }) => migration !== undefined);
  const isCompared = all.some(({ compared }) => compared !== undefined);
  return {
    columns: [
      ...['Endpoint', 'Verdict'],
      ...(hasStages ? STAGE_COLUMNS : []),
      ...(isCompared ? MEASURED_COLUMNS : []),
    ],
    rows: all.map(({ endpoint, compared, migration }) => [
      endpoint,
      verdictWord(compared),
      ...(hasStages ? stageCells(migration) : []),
      ...(isCompared ? measuredCells(compared) : []),
    ]),
  };
}

/** The verdict in a word. */
export function verdictWord(compared: Compared | undefined): string {
  return compared === undefined ? 'not compared' : VERDICTS[compared.comparison.verdict.state];
}

function stageCells(migration: MigrationRecord | undefined): readonly string[] {
  if (migration === undefined) return STAGE_COLUMNS.map(() => NONE);
  return [STAGE_WORDS[migration.status.effective], gatesCell(migration)];
}

function measuredCells(compared: Compared | undefined): readonly string[] {
  if (compared === undefined) return MEASURED_COLUMNS.map(() => NONE);
  const { comparison, projected } = compared;
  const { parity, latency, sides } = comparison;
  const look = parity.look > 0 ? `, ${parity.look} to look at` : '';
  const warm =
    latency.find(({ start, phase }) => start === 'warm' && phase === 'total') ??
    latency.find(({ phase }) => phase === 'total');
  return [
    `${parity.differing} of ${parity.judged}${look}`,
    warm === undefined ? 'not measured' : change(seconds(warm.old.median), seconds(warm.new.median)),
    change(money(sides.old.usdPerPicture), money(sides.new.usdPerPicture)),
    change(money(projected.old?.usdPerMonth ?? null), money(projected.new?.usdPerMonth ?? null)),
  ];
}
