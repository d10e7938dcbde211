import { describe, expect, it } from 'vitest';

import { appCosts, billingArguments, costTable } from './app-costs.ts';

const row = (description: string, environment: string, cost: string) => ({
  object_id: 'ap-1',
  description,
  environment,
  interval_start: '2026-11-25T00:00:00+00:00',
  cost,
});
const report = JSON.stringify([
  row('ryla-poster', 'main', '0.25'),
  row('ryla-poster-edit', 'main', '0.50'),
  row('ryla-poster', 'dev', '4'),
  row('ryla-poster-two', 'main', '100'),
]);

describe('costs of an app', () => {
  it('are its own and those of editing it, in one environment if one is chosen', () => {
    expect(appCosts('ryla-poster', report, undefined).totalDollars).toBe(4.75);
    const main = appCosts('ryla-poster', report, 'main');
    expect(main.totalDollars).toBe(0.75);
    expect(costTable(main).split('\n').at(-1)).toBe('ryla-poster: $0.7500');
    expect(costTable(appCosts('ryla-none', report, undefined))).toContain('nothing was billed');
  });

  it('are of this month unless a time is given', () => {
    expect(billingArguments(['--json'])).toEqual({
      json: true,
      report: ['billing', 'report', '--json', '--for', 'this month'],
    });
    expect(billingArguments(['--for=today', '--show-resources']).report).toEqual([
      'billing',
      'report',
      '--json',
      '--for=today',
      '--show-resources',
    ]);
  });
});
