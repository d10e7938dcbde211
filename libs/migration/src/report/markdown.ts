/** The report as Markdown, for a pull request. */
import {
  CHECKS,
  type Compared,
  COST_COLUMNS,
  costRows,
  LATENCY_COLUMNS,
  latencyRows,
  monthText,
  noiseText,
  overallVerdict,
  STATES,
  SUMMARY_COLUMNS,
  summaryRow,
  VERDICTS,
} from './figures.ts';

/** The whole report, pictures left out. */
export function markdown(title: string, createdAt: string, all: readonly Compared[]): string {
  return `${[
    `# ${plain(title)}`,
    plain(overallVerdict(all)),
    table(SUMMARY_COLUMNS, all.map(summaryRow)),
    ...all.flatMap(endpoint),
    `Made ${createdAt}. Costs are of measured seconds and published prices, not of a bill. The pictures are in the HTML report.`,
  ].join('\n\n')}\n`;
}

function endpoint(compared: Compared): readonly string[] {
  const { comparison } = compared;
  const { verdict, checks, sides, runs, seed, createdAt } = comparison;
  return [
    `## ${plain(comparison.endpoint)}: ${VERDICTS[verdict.state]}`,
    plain([verdict.sentence, monthText(compared)].filter((text) => text !== undefined).join(' ')),
    plain(
      `Old: ${sides.old.backend}. New: ${sides.new.backend}. ${runs} runs of three jobs, seed ${seed}, begun ${createdAt}.`,
    ),
    table(
      ['Gate', 'State', 'Why'],
      checks.map(({ name, state, text }) => [CHECKS[name], STATES[state], text]),
    ),
    '### Latency',
    table(LATENCY_COLUMNS, latencyRows(comparison)),
    '### Cost',
    table(COST_COLUMNS, costRows(compared)),
    '### Pictures',
    plain(noiseText(comparison)),
  ];
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
