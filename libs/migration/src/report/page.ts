/** The report as one HTML file: no script, no request. */
import { billPart } from './bill-part.ts';
import { comparisonPart, type Illustrated } from './comparison-part.ts';
import { dataLinks } from './downloads.ts';
import { html, Markup } from './markup.ts';
import type { TimeChart } from './stage-charts.ts';
import { stagePart } from './stage-part.ts';
import { STYLE } from './style.ts';
import { overallVerdict, type Reported, summaryOf } from './summary.ts';
import { table } from './table.ts';

/** One endpoint with its charts. */
export interface Shown extends Reported {
  readonly compared: Illustrated | undefined;
  readonly chart: TimeChart | undefined;
}

/** Nothing is loaded, run or sent, whatever a prompt contains. */
const POLICY =
  "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** The whole page. */
export function page(title: string, createdAt: string, all: readonly Shown[]): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${POLICY}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title}</title>
        <style>
          ${new Markup(STYLE)}
        </style>
      </head>
      <body>
        <header>
          <h1>${title}</h1>
          <p class="verdict">${overallVerdict(all)}</p>
        </header>
        <main>${all.length === 0 ? undefined : summary(all)} ${all.map(endpointSection)}</main>
        <footer>
          <p>
            Made ${createdAt}. Medians and p95 have 95 % intervals that hold for any distribution. Costs are
            of measured seconds and published prices, unless they are called billed.
          </p>
        </footer>
      </body>
    </html> `.toString();
}

function summary(all: readonly Shown[]): Markup {
  const { columns, rows } = summaryOf(all);
  return html`<section>
    <h2>Endpoints</h2>
    ${table(
      columns,
      rows.map(([endpoint = '', verdict = '', ...others], index) => {
        const state = all[index]?.compared?.comparison.verdict.state ?? 'unknown';
        return [
          html`<a href="#endpoint-${index + 1}">${endpoint}</a>`,
          html`<span class="state ${state}">${verdict}</span>`,
          ...others,
        ];
      }),
    )}
  </section>`;
}

function endpointSection(each: Shown, index: number): Markup {
  const { endpoint, compared, migration, chart, bill } = each;
  const billed = bill === undefined ? undefined : billPart(bill);
  return html`<section id="endpoint-${index + 1}">
    <h2>${endpoint}</h2>
    ${migration === undefined ? undefined : stagePart(migration, chart)}
    ${
      compared === undefined
        ? html`<h3>Comparison</h3>
            <p class="muted">
              Nobody has compared both sides yet: <code>ryla migrate compare ${endpoint}</code> shows
              pictures, waiting times and costs side by side.
            </p>
            ${billed}`
        : comparisonPart(compared, billed)
    }
    <div class="downloads">
      <h3>Raw data</h3>
      <p>${dataLinks(each)}</p>
    </div>
  </section> `;
}
