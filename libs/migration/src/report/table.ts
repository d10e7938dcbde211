/** Tables of the page. */
import { html, type Markup } from './markup.ts';

/** What stands for nothing; on a phone it is left out. */
export const NONE = '–';

/**
 * The first cell of a row names it; on a phone every other cell carries its column's name.
 *
 * @param kind `figures` keeps figures in one piece: for cells that hold no text of strangers.
 */
export function table(
  columns: readonly string[],
  rows: readonly (readonly (string | Markup)[])[],
  kind: 'any' | 'figures' = 'any',
): Markup {
  return html`<table class="${kind}">
    <thead>
      <tr>
        ${columns.map((column) => html`<th scope="col">${column}</th>`)}
      </tr>
    </thead>
    <tbody>
      ${rows.map(
        ([name, ...cells]) =>
          html`<tr>
            <th scope="row">${name}</th>
            ${cells.map((cell, index) => cellOf(cell, columns[index + 1]))}
          </tr> `,
      )}
    </tbody>
  </table>`;
}

function cellOf(cell: string | Markup, column: string | undefined): Markup {
  return html`<td class="${cell === NONE ? 'none' : 'told'}" data-label="${column}">
    <span>${cell}</span>
  </td>`;
}
