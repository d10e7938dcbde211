/** How one job went on one backend: the shape of a row of `npm start -- --json`. */
export interface StartResult {
  readonly endpoint: string;
  readonly backend: string;
  readonly jobId: string;
  readonly status: 'succeeded' | 'failed' | 'canceled';
  /** Saved files, as paths. */
  readonly outputs: readonly string[];
  /** Milliseconds; `null` where the backend could not tell. */
  readonly timings: {
    readonly queueMs: number | null;
    readonly coldStartMs: number | null;
    readonly executionMs: number | null;
    readonly totalMs: number;
  };
  /** Why the job did not succeed. */
  readonly error?: { readonly code: string; readonly message: string; readonly nodeId?: string };
}

/** The document that `npm start -- --json` prints. */
export interface StartReport {
  readonly results: readonly StartResult[];
  /** Whether the decoded pixels of all backends are equal; `null` with fewer than two results. */
  readonly pixelsEqual: boolean | null;
}

/** The report as a table for people. */
export function renderReport(report: StartReport, showPath: (file: string) => string): string {
  const rows = report.results.map((result) => [
    result.backend,
    result.jobId,
    result.status,
    duration(result.timings.queueMs),
    duration(result.timings.coldStartMs),
    duration(result.timings.executionMs),
    duration(result.timings.totalMs),
    String(result.outputs.length),
    pixels(report.pixelsEqual),
  ]);
  const header = [
    'backend',
    'job id',
    'status',
    'queue',
    'cold start',
    'execution',
    'total',
    'outputs',
    'pixels',
  ];
  const lines = [table([header, ...rows])];
  for (const result of report.results) {
    for (const file of result.outputs) lines.push(`  ${result.backend}: ${showPath(file)}`);
    if (result.error !== undefined)
      lines.push(`  ${result.backend}: ${result.error.code}: ${result.error.message}`);
  }
  return lines.join('\n');
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  const lines = rows.map(
    (row) =>
      `  ${row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd()}`,
  );
  const rule = `  ${widths.map((width) => '─'.repeat(width)).join('  ')}`;
  return [lines[0], rule, ...lines.slice(1)].join('\n');
}

function duration(milliseconds: number | null): string {
  if (milliseconds === null) return '–';
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(2)} s`;
}

function pixels(equal: boolean | null): string {
  return equal === null ? '–' : equal ? 'equal' : 'DIFFERENT';
}
