/** Parts of a Markdown file that `nx sync` keeps true, between comments; all around them is somebody's own. */

/**
 * The text with the content of a part replaced. A text without the part's two comments is returned as it is.
 *
 * @param part name of the part, such as `inputs`.
 */
export function withPart(text: string, part: string, content: string): string {
  const { from, to } = findPart(text, part) ?? {};
  if (from === undefined || to === undefined) return text;
  return `${text.slice(0, from)}\n\n${content.trim()}\n\n${text.slice(to)}`;
}

/** A new part with its comments. */
export function markedPart(part: string, content: string): string {
  return `${begin(part)}\n\n${content.trim()}\n\n${end(part)}`;
}

/** A cell of a table: one line, without what would end the cell or begin HTML. */
export function cell(text: string): string {
  return text.replace(/\s+/g, ' ').replaceAll('|', '\\|').replaceAll('<', '&lt;').trim();
}

/** A table of Markdown; empty without rows. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function begin(part: string): string {
  return `<!-- ${part}: written by \`npx nx sync\` -->`;
}

function end(part: string): string {
  return `<!-- /${part} -->`;
}

function findPart(text: string, part: string): { readonly from: number; readonly to: number } | undefined {
  const start = text.indexOf(begin(part));
  const to = start < 0 ? -1 : text.indexOf(end(part), start);
  return to < 0 ? undefined : { from: start + begin(part).length, to };
}
