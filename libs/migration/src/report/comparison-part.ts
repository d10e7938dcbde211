/** A comparison in the page: checks, charts, latency, cost, pictures. */
import { BUSY } from '../compare/costs.ts';
import type { Comparison, PairThumbnails } from '../compare/comparison.ts';
import { AMPLIFICATION } from '../compare/thumbnails.ts';
import type { Chart } from './drawing.ts';
import {
  CHECKS,
  type Compared,
  COST_COLUMNS,
  costRows,
  inputsText,
  LATENCY_COLUMNS,
  latencyRows,
  monthText,
  noiseTexts,
  RESULTS,
  STATES,
  VERDICTS,
} from './figures.ts';
import { html, type Markup } from './markup.ts';
import { table } from './table.ts';

/** A comparison with its charts. */
export interface Illustrated extends Compared {
  readonly charts: readonly Chart[];
}

/** Pairs of pictures that are seen at once; the others open on a touch. */
const FIRST_PAIRS = 4;

/** Failed jobs and outputs that are named one by one. */
const MOST_NAMED = 20;

/** The whole of it; `bill` comes after the costs. */
export function comparisonPart(each: Illustrated, bill: Markup | undefined): Markup {
  const { comparison, volume } = each;
  const { verdict, sides } = comparison;
  const month = monthText(each);
  return html`<h3>Comparison</h3>
    <p><span class="state ${verdict.state}">${VERDICTS[verdict.state]}</span> · ${verdict.sentence}</p>
    ${month === undefined ? undefined : html`<p>${month}</p>`}
    <p class="muted">
      Old: ${sides.old.backend}. New: ${sides.new.backend}. ${comparison.runs} runs of three jobs in random
      order (seed ${comparison.seed}), begun ${comparison.createdAt}.
    </p>
    <ul class="checks">
      ${comparison.checks.map(
        ({ name, state, text }) =>
          html`<li><span class="state ${state}">${CHECKS[name]}: ${STATES[state]}</span> · ${text}</li>`,
      )}
    </ul>
    <div class="charts">
      ${each.charts.map(
        ({ title, caption, svg }) =>
          html`<figure>
            <h4>${title}</h4>
            ${svg}
            <figcaption>${caption}</figcaption>
          </figure>`,
      )}
    </div>
    <h3>Latency</h3>
    ${table(LATENCY_COLUMNS, latencyRows(comparison))}
    <h3>Cost</h3>
    ${volume === undefined ? html`<p class="muted">The team's volume was not given: there is no projection, and no idle time.</p>` : volumeText(each)}
    ${table(COST_COLUMNS, costRows(each))} ${bill} ${pictures(comparison)} ${problems(comparison)}`;
}

function volumeText({ volume, projected }: Compared): Markup {
  const jobs = (volume?.jobsPerMonth ?? 0).toLocaleString('en');
  const isRough = [projected.old, projected.new].some((cost) => (cost?.utilisation ?? 0) > BUSY);
  const rough = isRough
    ? ' One worker would be busy most of the time: with more of them the figures are rough.'
    : '';
  return html`<p class="muted">
    Volume: ${jobs} jobs a month over ${volume?.hoursPerDay ?? 24} hours a day, coming at random to one
    worker.${rough}
  </p>`;
}

function pictures(comparison: Comparison): Markup {
  const { thumbnails } = comparison;
  const noise = html`<h3>Pictures</h3>
    ${noiseTexts(comparison).map((text) => html`<p class="muted">${text}</p>`)}`;
  if (thumbnails.length === 0)
    return html`${noise}
      <p>There are no pictures to show.</p>`;
  const rows = thumbnails.map((pair) => pictureRow(comparison, pair));
  return html`${noise}
    <p class="muted">
      The ${thumbnails.length} pairs that differ most. The difference is shown ${AMPLIFICATION} times as
      strong; black is the same.
    </p>
    ${rows.slice(0, FIRST_PAIRS)} ${folded(rows.slice(FIRST_PAIRS))}`;
}

function folded(rows: readonly Markup[]): Markup | undefined {
  if (rows.length === 0) return undefined;
  return html`<details>
    <summary>${rows.length} more</summary>
    ${rows}
  </details>`;
}

function pictureRow(comparison: Comparison, { run, node, index, result, ...files }: PairThumbnails): Markup {
  const pair = comparison.pairs.find(
    (each) => each.against === 'new' && each.run === run && each.node === node && each.index === index,
  );
  const picture = (name: string, file: string | null): Markup | undefined =>
    file === null
      ? undefined
      : html`<figure>
          <img alt="${name} picture of run ${run + 1}" src="data:image/webp;base64,${file}" />
          <figcaption>${name}</figcaption>
        </figure>`;
  return html`<div class="pair">
    <p>
      <span class="state ${result}">${RESULTS[result]}</span> · run ${run + 1}, node ${node}, picture
      ${index + 1}. ${pair?.reasons.join(' ')}
    </p>
    <div class="pictures">
      ${[picture('old', files.old), picture('new', files.new), picture('difference', files.difference)]}
    </div>
    <p class="muted">${inputsText(comparison, run)}</p>
  </div> `;
}

/** Failed jobs, and outputs that differ or must be looked at and have no picture. */
function problems({ jobs, pairs, thumbnails }: Comparison): Markup | undefined {
  const shown = new Set(thumbnails.map(({ run, node, index }) => `${run} ${node} ${index}`));
  const lines = [
    ...jobs.flatMap(({ id, run, backend, error }) =>
      error === null ? [] : [`Run ${run + 1}, ${backend}, job ${id}: ${error.code}. ${error.message}`],
    ),
    ...pairs
      .filter(({ against, result }) => against === 'new' && (result === 'differs' || result === 'look'))
      .filter(({ run, node, index }) => !shown.has(`${run} ${node} ${index}`))
      .map(({ run, node, name, reasons }) => `Run ${run + 1}, node ${node}, ${name}: ${reasons.join(' ')}`),
  ];
  if (lines.length === 0) return undefined;
  const more =
    lines.length > MOST_NAMED
      ? html`<li>… and ${lines.length - MOST_NAMED} more in the raw data</li>`
      : undefined;
  return html`<h3>Failures and other differences</h3>
    <ul>
      ${lines.slice(0, MOST_NAMED).map((line) => html`<li>${line}</li>`)}${more}
    </ul>`;
}
