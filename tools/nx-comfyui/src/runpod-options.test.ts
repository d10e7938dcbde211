import { describe, expect, it } from 'vitest';

import { readCostsOptions, runpodCostTable } from './runpod-costs.ts';
import { logText, readLogsOptions } from './runpod-logs.ts';

/** A Wednesday. */
const NOW = new Date('2026-11-25T15:30:00Z');

describe('costs on RunPod', () => {
  const span = (...args: string[]): (string | undefined)[] => {
    const { start, end } = readCostsOptions(args, NOW).span;
    return [start.toISOString().slice(0, 10), end?.toISOString().slice(0, 10)];
  };

  it('are of whole days, this month unless another time is given', () => {
    expect(span()).toEqual(['2026-11-01', undefined]);
    expect(span('--for', 'today')).toEqual(['2026-11-25', undefined]);
    expect(span('--for=yesterday')).toEqual(['2026-11-24', '2026-11-25']);
    expect(span('--for', 'this week')).toEqual(['2026-11-23', undefined]);
    expect(span('--for', 'last week')).toEqual(['2026-11-16', '2026-11-23']);
    expect(span('--for', 'last month')).toEqual(['2026-10-01', '2026-11-01']);
    expect(span('--start', '2026-09-05', '--end', '2026-09-08')).toEqual(['2026-09-05', '2026-09-08']);
  });

  it('refuse times that cannot be meant', () => {
    expect(() => span('--for', 'last year')).toThrow('not "last year"');
    expect(() => span('--for', 'today', '--start', '2026-09-05')).toThrow('Give --for, or --start');
    expect(() => span('--end', '2026-09-05')).toThrow('--end needs --start');
    expect(() => span('--start', 'x')).toThrow('not "x"');
    expect(() => span('--start', '2026-09-05', '--end', '2026-09-05')).toThrow('not after');
  });

  it('are shown with the price of a worker and its source', () => {
    const costs = {
      name: 'ryla-poster',
      endpointId: 'x1',
      intervals: [
        {
          start: '2026-11-02T00:00:00Z',
          end: '2026-11-03T00:00:00Z',
          dollars: 1.5,
          resources: { gpu: 1, cpu: 0, disk: 0.4, fee: 0.1 },
        },
      ],
      totalDollars: 1.5,
      workerPrices: [
        { pool: 'ADA_24', dollarsPerSecond: 0.00031, source: 'price table of 2026-11-24' },
        { pool: 'NEW_POOL', dollarsPerSecond: null, source: 'no price is known' },
      ],
      activeWorkers: 2,
    };
    const table = runpodCostTable(costs, readCostsOptions(['--show-resources'], NOW));
    expect(table.split('\n')).toEqual([
      '2026-11-02  $1.5000  gpu $1.0000  cpu $0.0000  disk $0.4000  fee $0.1000',
      'ryla-poster (x1): $1.5000 since 2026-11-01',
      'A worker on ADA_24 (L4, RTX 4090): $0.00031 a second, $1.12 an hour while it runs (price table of 2026-11-24)',
      'A worker on NEW_POOL: no price is known',
      'Active workers now: 2',
    ]);
  });
});

describe('logs on RunPod', () => {
  it('are the last hundred lines of each worker unless more, less or a time is given', () => {
    const read = (...args: string[]) => readLogsOptions(args, NOW.getTime());
    expect(read()).toMatchObject({ follow: false, tail: 100, since: undefined, source: undefined });
    expect(read('-f', '--since', '2h').since?.toISOString()).toBe('2026-11-25T13:30:00.000Z');
    expect(read('--since=2026-11-25T10:00:00Z').since?.toISOString()).toBe('2026-11-25T10:00:00.000Z');
    expect(() => read('--since', 'soon')).toThrow('not "soon"');
    expect(() => read('--tail', '5001')).toThrow('0 to 5000');
    expect(() => read('--source', 'stderr')).toThrow('not "stderr"');
    const line = { worker: 'w1', source: 'container', line: 'hello', at: '2026-11-25T10:00:00Z' };
    expect(logText(line, read())).toBe('[w1] hello');
    expect(logText(line, read('--timestamps'))).toBe('2026-11-25T10:00:00Z [w1] hello');
  });
});
