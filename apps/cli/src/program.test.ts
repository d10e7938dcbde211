import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { completionScript } from './commands/completion.ts';
import { pinned, versionFinding } from './commands/doctor.ts';
import { freeName } from './free-name.ts';
import { moment } from './option-values.ts';
import { dollars, duration, errorText, metricsText, table } from './output.ts';
import { showProgress } from './progress.ts';
import { createProgram } from './program.ts';

describe('the command line', () => {
  it('loads of a command only what it needs', async () => {
    const names = async (first?: string): Promise<string[]> =>
      (await createProgram(first)).commands.map((command) => command.name());
    const all = await names();
    expect(await names('nonsense')).toEqual(all);
    for (const name of all) expect(await names(name), name).toContain(name);
    expect(await names('drift')).toEqual(['deploy', 'drift', 'undeploy', 'rollback', 'adopt']);
  });

  it('describes every command and its options', async () => {
    const program = await createProgram();
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

  it('shows what a worker measured, without what it does not know', () => {
    const metrics = {
      queueMs: null,
      bootMs: 0,
      modelLoadMs: 1_500,
      samplingMs: 2_000,
      encodeMs: null,
      uploadMs: 12,
      gpu: 'NVIDIA L40S',
      peakMemoryBytes: 3 * 2 ** 30,
    };
    expect(metricsText(metrics)).toBe(
      'worker: start of ComfyUI 0 ms, loading models 1.50 s, sampling 2.00 s, handing over 12 ms; NVIDIA L40S, at most 3.0 GiB in use',
    );
    expect(metricsText({ ...metrics, gpu: null, peakMemoryBytes: null })).toMatch(/; no GPU$/);
    expect(metricsText(undefined)).toBeUndefined();
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

it('completes commands, what is below them, and options in bash', async () => {
  const script = completionScript(await createProgram(), 'bash');
  const complete = (...words: readonly string[]): string[] =>
    execFileSync('bash', [
      '-c',
      `${script}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ryla; printf '%s\\n' "\${COMPREPLY[@]}"`,
      'ryla',
      ...words,
    ])
      .toString()
      .trim()
      .split('\n');
  expect(complete('ryla', 'wo')).toEqual(['workflows']);
  expect(complete('ryla', 'workflows', 'li')).toEqual(['lint']);
  expect(complete('ryla', 'jobs', '--endpoint', 'photo-finish', '--st')).toEqual(['--status']);
  expect(complete('ryla', 'completion', 'z')).toEqual(['zsh']);
});

describe('doctor', () => {
  it('compares versions part by part, with a minimum or with the pin of uv.lock', () => {
    const lock =
      '[[package]]\nname = "modal"\nversion = "1.6.4"\n\n[[package]]\nname = "modal-x"\nversion = "9"\n';
    expect([pinned(lock, 'modal'), pinned(lock, 'runpod')]).toEqual(['1.6.4', undefined]);
    const state = (wanted: { minimum: string } | { exact: string }, said: string): string =>
      versionFinding({ name: 'it', wanted }, said, 'Do something.').state;
    expect(state({ minimum: '22.19' }, '24.1.0')).toBe('ok');
    expect(state({ minimum: '22.19' }, '22.9.1')).toBe('broken');
    expect(state({ exact: '1.6.4' }, 'modal client version: 1.6.4')).toBe('ok');
    expect(
      versionFinding({ name: 'it', wanted: { exact: '1.6.4' } }, '1.6.5', 'npm run setup'),
    ).toMatchObject({
      message: '1.6.5, but 1.6.4, as uv.lock has it, is needed',
      advice: 'npm run setup',
    });
    expect(state({ minimum: '11' }, 'no number')).toBe('broken');
  });
});

it('never writes over a picture', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'ryla-out-'));
  try {
    expect(freeName(folder, 'a.png')).toBe(path.join(folder, 'a.png'));
    writeFileSync(path.join(folder, 'a.png'), '');
    writeFileSync(path.join(folder, 'a-2.png'), '');
    expect(freeName(folder, 'a.png')).toBe(path.join(folder, 'a-3.png'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
