import process from 'node:process';
import { styleText } from 'node:util';

import { ComfyUIServiceError, type JobMetrics, JobStoreError } from '@ryla/business';
import { WorkflowError } from '@ryla/workflow';

import { UsageError } from './exit-codes.ts';

/** Where a command writes: results on stdout, everything else on stderr. */
export interface Output {
  readonly json: boolean;
  /** A result: one JSON document with `--json`, the text otherwise. */
  result(document: unknown, text: string): void;
  /** A remark for people. */
  note(text: string): void;
}

/** The output of a command. */
export function createOutput(json: boolean): Output {
  return {
    json,
    result: (document, text) => {
      process.stdout.write(`${json ? JSON.stringify(document) : text}\n`);
    },
    note: (text) => {
      process.stderr.write(`${text}\n`);
    },
  };
}

/** What is said of an error. */
export interface ErrorDocument {
  readonly code: string;
  readonly message: string;
  readonly jobId?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly backend?: string | undefined;
  readonly nodeId?: string | undefined;
  readonly hint?: string | undefined;
  readonly retryable?: boolean;
}

/** An error as a document, with its stable code. */
export function errorDocument(error: unknown): ErrorDocument {
  if (ComfyUIServiceError.isInstance(error)) {
    const { code, message, jobId, endpoint, backend, nodeId, hint, retryable } = error;
    return { code, message, jobId, endpoint, backend, nodeId, hint, retryable };
  }
  if (JobStoreError.isInstance(error)) {
    const { code, message, jobId, hint, retryable } = error;
    return { code, message, jobId, hint, retryable };
  }
  if (error instanceof UsageError) return { code: error.code, message: error.message };
  if (WorkflowError.isInstance(error))
    return { code: error.code, message: error.message, nodeId: error.nodeId };
  const code = ownCode(error);
  if (code !== undefined && error instanceof Error) return { code, message: error.message };
  return { code: 'unexpected', message: error instanceof Error ? error.message : String(error) };
}

/** The code of another library's error of ours, whose class is loaded only where it is needed; Node's own are upper case. */
function ownCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  return /^[a-z]+(_[a-z]+)*$/.test(error.code) ? error.code : undefined;
}

/** An error for people: what happened, where, and what to do. */
export function errorText(error: unknown): string {
  const { code, message, nodeId, hint } = errorDocument(error);
  const where = nodeId === undefined ? '' : ` (node ${nodeId})`;
  const lines = [`${styleText('red', 'Error')} ${code}: ${message}${where}`];
  if (hint !== undefined) lines.push(`  ${hint}`);
  return lines.join('\n');
}

/** A table of texts, columns as wide as their widest cell. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [line(head), line(widths.map((width) => '─'.repeat(width))), ...rows.map(line)].join('\n');
}

/** Milliseconds for people; a dash where unknown. */
export function duration(milliseconds: number | null | undefined): string {
  if (milliseconds === null || milliseconds === undefined) return '–';
  return milliseconds < 1_000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1_000).toFixed(2)} s`;
}

/** US dollars for people; a dash where unknown. */
export function dollars(usd: number | undefined | null): string {
  return usd === undefined || usd === null ? '–' : `$${usd.toFixed(usd < 1 ? 5 : 2)}`;
}

/** Where a worker's time went, and on which card, in one line; undefined where it does not tell. */
export function metricsText(metrics: JobMetrics | undefined): string | undefined {
  if (metrics === undefined) return undefined;
  const { bootMs, modelLoadMs, samplingMs, encodeMs, uploadMs, gpu, peakMemoryBytes } = metrics;
  const phases = [
    ['start of ComfyUI', bootMs],
    ['loading models', modelLoadMs],
    ['sampling', samplingMs],
    ['encoding', encodeMs],
    ['handing over', uploadMs],
  ] as const;
  const spent = phases.flatMap(([name, ms]) => (ms === null ? [] : [`${name} ${duration(ms)}`])).join(', ');
  const memory =
    peakMemoryBytes === null ? '' : `, at most ${(peakMemoryBytes / 2 ** 30).toFixed(1)} GiB in use`;
  return `worker: ${spent}; ${gpu === null ? 'no GPU' : `${gpu}${memory}`}`;
}
