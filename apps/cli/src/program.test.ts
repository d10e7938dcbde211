import { describe, expect, it } from 'vitest';

import { moment } from './commands/job-commands.ts';
import { dollars, duration, errorText, table } from './output.ts';
import { showProgress } from './progress.ts';
import { createProgram } from './program.ts';
import { sarif } from './sarif.ts';

describe('the command line', () => {
  it('describes every command and its options', () => {
    const program = createProgram();
    const all = [...program.commands, ...program.commands.flatMap(({ commands }) => commands)];
    expect(all.map((command) => command.name())).toEqual(
      expect.arrayContaining([
        'run',
        'submit',
        'status',
        'watch',
        'cancel',
        'jobs',
        'costs',
        'health',
        'doctor',
      ]),
    );
    for (const command of all) {
      expect(command.description(), command.name()).not.toBe('');
      for (const option of command.options) expect(option.description, option.flags).not.toBe('');
    }
  });

  it('reads moments as dates and as times ago', () => {
    expect(moment('2026-11-25')).toBe(Date.UTC(2026, 10, 25));
    const before = Date.now();
    expect(moment('2h')).toBeGreaterThanOrEqual(before - 2 * 3_600_000);
    expect(() => moment('soon')).toThrow('such as 30m');
  });
});

describe('what people read', () => {
  it('shows durations, money and tables', () => {
    expect([duration(12), duration(1_234), duration(null)]).toEqual(['12 ms', '1.23 s', '–']);
    expect([dollars(0.000114), dollars(12.3), dollars(undefined)]).toEqual(['$0.00011', '$12.30', '–']);
    expect(table(['a', 'long'], [['wide cell', 'x']])).toBe('a          long\n─────────  ────\nwide cell  x');
  });

  it('shows an error that nobody expected as such', () => {
    expect(errorText(new Error('oh'))).toContain('unexpected: oh');
  });

  it('shows progress line by line where there is no terminal, each change once', () => {
    const lines: string[] = [];
    const view = showProgress({ write: (text) => lines.push(text) });
    view.event({ type: 'queued', position: 2 });
    view.event({ type: 'queued', position: 2 });
    view.event({ type: 'starting', cold: true });
    view.event({ type: 'finished', status: 'succeeded', error: undefined });
    view.close();
    expect(lines).toEqual(['queued (2)\n', '0% running, from cold\n', '100% succeeded\n']);
  });

  it('shows one line that is drawn again on a terminal', () => {
    const lines: string[] = [];
    const view = showProgress({ write: (text) => lines.push(text), isTTY: true, columns: 80 });
    view.event({ type: 'starting', cold: false });
    view.close();
    expect(lines.join('')).toMatch(/^\r\x1b\[K░+ {3}0% running\n$/);
  });
});

it('findings become SARIF with one rule for each code', () => {
  const document = sarif([
    { file: 'a.json', code: 'unknown_class', message: 'm', nodeId: '3' },
    { file: 'b.json', code: 'unknown_class', message: 'n', nodeId: undefined },
  ]);
  expect(document).toMatchObject({
    version: '2.1.0',
    runs: [{ tool: { driver: { rules: [{ id: 'unknown_class' }] } }, results: [{}, {}] }],
  });
});
