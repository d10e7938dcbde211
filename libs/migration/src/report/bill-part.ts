/** Bills of one endpoint in the page. */
import type { EndpointBill } from '../bills/bill.ts';
import { BILL_COLUMNS, billNotes, billRows } from './bill-figures.ts';
import { html, type Markup } from './markup.ts';
import { table } from './table.ts';

/** The whole of it. */
export function billPart(bill: EndpointBill): Markup {
  const [what, ...others] = billNotes(bill);
  return html`<h3>Bills</h3>
    ${table(BILL_COLUMNS, billRows(bill))}
    <p class="muted">${what}</p>
    ${others.length === 0 ? undefined : html`<p class="muted">${others.join(' ')}</p>`}`;
}
