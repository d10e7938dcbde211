import type { JobEvent } from '@ryla/business';

/** The part of a stream that is written to. */
export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Shows a job's events: one line that is drawn again on a terminal, plain lines elsewhere. */
export interface ProgressView {
  event(event: JobEvent): void;
  close(): void;
}

const BAR = 24;

/** A view on a stream. */
export function showProgress(stream: ProgressStream): ProgressView {
  const isTerminal = stream.isTTY === true;
  let last = '';
  const show = (label: string, fraction: number | undefined): void => {
    const shown = isTerminal ? line(label, fraction) : plain(label, fraction);
    if (shown === last) return;
    last = shown;
    if (!isTerminal) stream.write(`${shown}\n`);
    else stream.write(`\r\x1b[K${shown.slice(0, (stream.columns ?? 80) - 1)}`);
  };
  return {
    event(event) {
      switch (event.type) {
        case 'queued':
          show(event.position === undefined ? 'queued' : `queued (${event.position})`, undefined);
          break;
        case 'starting':
          show(event.cold === true ? 'running, from cold' : 'running', 0);
          break;
        case 'running': {
          const { progress } = event;
          const steps = progress?.steps === undefined ? '' : ` ${progress.step ?? 0}/${progress.steps}`;
          show(`${progress?.nodeClass ?? 'running'}${steps}`, progress?.value);
          break;
        }
        case 'restarted':
          show(`attempt ${event.attempt}: ${event.error?.message ?? 'the last one died'}`, undefined);
          break;
        case 'output':
          show(`made ${event.output.name}`, 1);
          break;
        case 'finished':
          show(event.status, event.status === 'succeeded' ? 1 : undefined);
          break;
        case 'preview':
          break;
      }
    },
    close() {
      if (isTerminal && last !== '') stream.write('\n');
      last = '';
    },
  };
}

function line(label: string, fraction: number | undefined): string {
  const filled = Math.round((fraction ?? 0) * BAR);
  const percent = fraction === undefined ? '    ' : `${String(Math.round(fraction * 100)).padStart(3)}%`;
  return `${'█'.repeat(filled)}${'░'.repeat(BAR - filled)} ${percent} ${label}`;
}

function plain(label: string, fraction: number | undefined): string {
  return fraction === undefined ? label : `${Math.floor(fraction * 10) * 10}% ${label}`;
}
