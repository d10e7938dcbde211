import process from 'node:process';

import type { Output } from '../output.ts';
import type { ProgressStream } from '../progress.ts';

/** How the copy writes its progress: `12.3 of 34.2 GB, 36 %, 812 MB/s, 27 s left`. */
const PROGRESS = /^\S+ \S+ of \S+ \S+, \d+ %, /;

/** What modal says of itself. */
const OWN = /^(✓|├|└|│|🔨|Initialized|Created (objects|mount|function)|Stopping app|App completed|View run)/u;

/** Shows what the copy prints, without what modal says of itself; its progress is one line on a terminal. */
export function copyLines(
  output: Output,
  stream: ProgressStream = process.stderr,
): { readonly line: (text: string) => void; readonly close: () => void } {
  const isTerminal = stream.isTTY === true;
  let isOpen = false;
  let last = '';
  const close = (): void => {
    if (isOpen) stream.write('\n');
    isOpen = false;
  };
  return {
    line(text) {
      if (OWN.test(text.trim()) || text === last) return;
      last = text;
      if (PROGRESS.test(text) && isTerminal) {
        stream.write(`\r\x1b[K${text.slice(0, (stream.columns ?? 80) - 1)}`);
        isOpen = true;
        return;
      }
      close();
      if (PROGRESS.test(text) || output.json) output.note(text);
      else output.result(undefined, text);
    },
    close,
  };
}
