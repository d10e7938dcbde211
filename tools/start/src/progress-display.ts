import { styleText } from 'node:util';

/** State of one job, as the display shows it. */
export interface JobProgress {
  /** What is happening, in a word or two: "queued", "starting", "KSampler 3/4", "succeeded". */
  readonly label: string;
  /** Done fraction from 0 to 1; `null` while it cannot be known. */
  readonly fraction: number | null;
}

/** Shows steps and the progress of several jobs at once, on a terminal or in a log. */
export interface ProgressDisplay {
  /** Starts a step; call the result when it is done. */
  step(name: string): (note?: string) => void;
  /** Shows a line of its own. */
  line(text: string): void;
  /** Shows where a job is. */
  job(name: string, progress: JobProgress): void;
  /** Leaves the cursor below the display and shows no more. */
  close(): void;
}

/** The part of a stream that a display needs. */
export interface DisplayStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

const BAR_WIDTH = 24;

/** A display on a terminal redraws its bars; elsewhere it writes a plain line whenever a label changes. */
export function createProgressDisplay(stream: DisplayStream, now: () => number = Date.now): ProgressDisplay {
  return stream.isTTY === true ? terminalDisplay(stream, now) : plainDisplay(stream, now);
}

function plainDisplay(stream: DisplayStream, now: () => number): ProgressDisplay {
  const shown = new Map<string, string>();
  return {
    step(name) {
      const started = now();
      return (note) => void stream.write(`${name}: ${note ?? 'done'} (${seconds(now() - started)})\n`);
    },
    line: (text) => void stream.write(`${text}\n`),
    job(name, { label, fraction }) {
      const text = fraction === null ? label : `${Math.floor(fraction * 10) * 10}% ${label}`;
      if (shown.get(name) === text) return;
      shown.set(name, text);
      stream.write(`${name}: ${text}\n`);
    },
    close: () => undefined,
  };
}

function terminalDisplay(stream: DisplayStream, now: () => number): ProgressDisplay {
  const jobs = new Map<string, JobProgress>();
  let current: string | undefined;
  let drawn = 0;
  const erase = (): void => {
    if (drawn > 0) stream.write(`\x1b[${drawn}A\x1b[J`);
    drawn = 0;
  };
  const draw = (): void => {
    erase();
    const width = Math.max(...[...jobs.keys()].map((name) => name.length), 0);
    const lines = [...jobs].map(([name, progress]) => bar(name.padEnd(width), progress));
    if (current !== undefined) lines.unshift(`  ${styleText('cyan', '…')} ${current}`);
    if (lines.length > 0) stream.write(`${lines.map((line) => fit(line, stream.columns)).join('\n')}\n`);
    drawn = lines.length;
  };
  const print = (text: string): void => {
    erase();
    stream.write(`${text}\n`);
    draw();
  };
  return {
    step(name) {
      const started = now();
      current = name;
      draw();
      return (note) => {
        current = undefined;
        const rest = styleText('dim', `${note === undefined ? '' : `${note}, `}${seconds(now() - started)}`);
        print(`  ${styleText('green', '✓')} ${name} ${rest}`);
      };
    },
    line: print,
    job(name, progress) {
      jobs.set(name, progress);
      draw();
    },
    close: () => {
      current = undefined;
      draw();
      drawn = 0;
      jobs.clear();
    },
  };
}

function bar(name: string, { label, fraction }: JobProgress): string {
  const filled = Math.round((fraction ?? 0) * BAR_WIDTH);
  const percent = fraction === null ? '    ' : `${String(Math.round(fraction * 100)).padStart(3)}%`;
  return `  ${name} ${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)} ${percent} ${label}`;
}

/** Cuts a line to the terminal's width, so that redrawing never meets a wrapped line. */
function fit(line: string, columns = 80): string {
  return line.includes('\x1b') || line.length < columns ? line : line.slice(0, columns - 1);
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
