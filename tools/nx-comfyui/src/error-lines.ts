const SHOWN = 10;
const ERROR = /\b(error|exception|traceback|fatal|out of memory|killed)\b/i;

/** The last lines of a log that look like errors, each once. */
export function errorLines(log: string): string[] {
  const lines = log.split('\n').filter((line) => ERROR.test(line));
  return [...new Set(lines.map((line) => line.trim()))].slice(-SHOWN);
}
