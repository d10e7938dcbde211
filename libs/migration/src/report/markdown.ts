/** The report as Markdown, for a pull request. */
import { BILL_COLUMNS, billNotes, billRows } from './bill-figures.ts';
import {
  CHECKS,
  type Compared,
  COST_COLUMNS,
  costRows,
  LATENCY_COLUMNS,
  latencyRows,
  monthText,
  noiseTexts,
  STATES,
} from './figures.ts';
import type { MigrationRecord } from './migration-record.ts';
import {
  GATE_COLUMNS,
  gateRow,
  HISTORY_COLUMNS,
  historyRows,
  seriesText,
  STAGE_WORDS,
  stageFacts,
  stageSentence,
  TOTAL_COLUMNS,
  totalRows,
  unjudgedText,
} from './stage-figures.ts';
import { overallVerdict, type Reported, summaryOf, verdictOf, verdictWord } from './summary.ts';

/** The whole report, pictures and charts left out. */
export function markdown(title: string, createdAt: string, all: readonly Reported[]): string {
  const summary = summaryOf(all);
  return `${[
    `# ${plain(title)}`,
    plain(overallVerdict(all)),
    ...(all.length === 0 ? [] : [table(summary.columns, summary.rows)]),
    ...all.flatMap(endpointPart),
    `Made ${createdAt}. Costs are of measured seconds and published prices, unless they are called billed. The pictures are in the HTML report.`,
  ].join('\n\n')}\n`;
}

function endpointPart(each: Reported): readonly string[] {
  const { endpoint, compared, migration, bill } = each;
  return [
    `## ${plain(endpoint)}: ${verdictWord(compared)}`,
    ...(compared === undefined ? [plain(verdictOf(each))] : []),
    ...(migration === undefined ? [] : stagePart(migration)),
    ...(compared === undefined ? [] : comparisonPart(compared)),
    ...(bill === undefined
      ? []
      : ['### Bills', table(BILL_COLUMNS, billRows(bill)), plain(billNotes(bill).join(' '))]),
  ];
}

function stagePart(record: MigrationRecord): readonly string[] {
  const { status, series } = record;
  const unjudged = unjudgedText(status);
  const others = status.blockers.filter(({ gate }) => gate === undefined);
  const next = status.next === undefined ? '' : ` before ${STAGE_WORDS[status.next]}`;
  const history = historyRows(record);
  return [
    `### Stage: ${STAGE_WORDS[status.effective]}`,
    plain(`${stageSentence(record)} ${stageFacts(record).join(' ')}`),
    `### Gates${next}`,
    ...list(status.alarms.map(({ message }) => `To be rolled back: ${message}`)),
    status.gates.length === 0
      ? 'Gates measure from shadow on.'
      : table(GATE_COLUMNS, status.gates.map(gateRow)),
    ...(unjudged === undefined ? [] : [plain(unjudged)]),
    ...list(others.map(({ message }) => message)),
    '### Over the time of the migration',
    plain(seriesText(record)),
    ...(series.points.length === 0 ? [] : [table(TOTAL_COLUMNS, totalRows(record))]),
    '### History',
    history.length === 0
      ? 'Nobody has moved this endpoint yet.'
      : table(
          HISTORY_COLUMNS,
          history.map(({ cells }) => cells),
        ),
  ];
}

function comparisonPart(compared: Compared): readonly string[] {
  const { comparison } = compared;
  const { verdict, checks, sides, runs, seed, createdAt } = comparison;
  return [
    '### Comparison',
    plain([verdict.sentence, monthText(compared)].filter((text) => text !== undefined).join(' ')),
    plain(
      `Old: ${sides.old.backend}. New: ${sides.new.backend}. ${runs} runs of three jobs, seed ${seed}, begun ${createdAt}.`,
    ),
    table(
      ['Check', 'State', 'Why'],
      checks.map(({ name, state, text }) => [CHECKS[name], STATES[state], text]),
    ),
    '### Latency',
    table(LATENCY_COLUMNS, latencyRows(comparison)),
    '### Cost',
    table(COST_COLUMNS, costRows(compared)),
    '### Pictures',
    noiseTexts(comparison)
      .map((text) => `- ${plain(text)}`)
      .join('\n'),
  ];
}

function list(lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [lines.map((line) => `- ${plain(line)}`).join('\n')];
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(plain).join(' | ')} |`;
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n');
}

/** Text that Markdown leaves as it is: one line without control characters, nothing of it markup. */
function plain(text: string): string {
  return text
    .replaceAll(/[\s\p{Cc}]+/gu, ' ')
    .replaceAll(/[\\`*_[\]<>|#~!&]/g, (character) => `\\${character}`);
}
