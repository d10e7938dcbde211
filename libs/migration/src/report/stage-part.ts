/** Stages and gates of one endpoint in the page, with what happened over time. */
import { compareStages, STAGES } from '../stages/stage.ts';
import { html, type Markup } from './markup.ts';
import type { MigrationRecord } from './migration-record.ts';
import type { TimeChart } from './stage-charts.ts';
import {
  GATE_COLUMNS,
  gateRow,
  gateVerdict,
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
import { table } from './table.ts';

/** Moves that are seen at once; the others open on a touch. */
const FIRST_MOVES = 8;

/** The whole of it. */
export function stagePart(record: MigrationRecord, chart: TimeChart | undefined): Markup {
  return html`<h3>Stage</h3>
    ${track(record)}
    <p>${stageSentence(record)}</p>
    <p class="muted">${stageFacts(record).join(' ')}</p>
    ${gates(record)} ${timeSeries(record, chart)} ${history(record)}`;
}

/** All stages in a row: those behind, the one in effect, and those that the file does not permit yet. */
function track({ status: { effective, permitted, alarms } }: MigrationRecord): Markup {
  return html`<ol class="track">
    ${STAGES.map((stage) => {
      const isNow = stage === effective;
      const place = isNow ? 'now' : compareStages(stage, effective) < 0 ? 'behind' : 'ahead';
      const alarm = isNow && alarms.length > 0 ? ' alarm' : '';
      const closed = compareStages(stage, permitted) > 0 ? ' closed' : '';
      return html`<li class="${place}${alarm}${closed}" ${isNow ? html`aria-current="step"` : undefined}>
        ${STAGE_WORDS[stage]}
      </li>`;
    })}
  </ol>`;
}

function gates({ status }: MigrationRecord): Markup {
  const { next, gates: results, blockers, alarms } = status;
  const title = next === undefined ? 'Gates' : `Gates before ${STAGE_WORDS[next]}`;
  const others = blockers.filter(({ gate }) => gate === undefined);
  const unjudged = unjudgedText(status);
  return html`<h3>${title}</h3>
    ${alarms.map(({ message }) => html`<p><span class="state fail">To be rolled back</span> · ${message}</p>`)}
    ${
      results.length === 0
        ? html`<p class="muted">
            ${next === undefined ? 'There is no further stage.' : 'Gates measure from shadow on.'}
          </p>`
        : table(
            GATE_COLUMNS,
            results.map((result) => {
              const [name = '', verdict = '', ...figures] = gateRow(result);
              const state = html`<span class="state ${gateVerdict(result).state}">${verdict}</span>`;
              return [name, state, ...figures];
            }),
            'figures',
          )
    }
    ${unjudged === undefined ? undefined : html`<p class="muted">${unjudged}</p>`}
    ${
      others.length === 0
        ? undefined
        : html`<ul class="checks">
            ${others.map(({ message }) => html`<li><span class="state unsure">waits</span> · ${message}</li>`)}
          </ul>`
    }`;
}

function timeSeries(record: MigrationRecord, chart: TimeChart | undefined): Markup {
  const { status, series } = record;
  return html`<h3>Over the time of the migration</h3>
    ${
      chart === undefined
        ? undefined
        : html`<figure class="wide">${chart.wide}</figure>
            <figure class="narrow">${chart.narrow}</figure>`
    }
    <p class="muted">
      ${seriesText(record)}
      ${chart === undefined || status.state.history.length === 0 ? undefined : 'The band on top is the stage; a red line is a rollback.'}
    </p>
    ${series.points.length === 0 ? undefined : table(TOTAL_COLUMNS, totalRows(record))}`;
}

function history(record: MigrationRecord): Markup {
  const rows = historyRows(record).map(({ isRollback, cells }) => {
    const [when = '', stage = '', ...rest] = cells;
    return [when, isRollback ? html`<span class="fail">${stage}</span>` : stage, ...rest];
  });
  if (rows.length === 0)
    return html`<h3>History</h3>
      <p class="muted">Nobody has moved this endpoint yet.</p>`;
  const older = rows.slice(FIRST_MOVES);
  return html`<h3>History</h3>
    ${table(HISTORY_COLUMNS, rows.slice(0, FIRST_MOVES))}
    ${
      older.length === 0
        ? undefined
        : html`<details>
            <summary>${older.length} older</summary>
            ${table(HISTORY_COLUMNS, older)}
          </details>`
    }`;
}
