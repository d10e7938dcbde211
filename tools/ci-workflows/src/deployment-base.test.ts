import { describe, expect, it } from 'vitest';

import { deploymentBase } from './deployment-base.ts';

/** Commits of one branch, in order. */
const earlier = (first: string, second: string): boolean => first <= second;

describe('deploymentBase', () => {
  it('is what was given, before all else', () => {
    expect(deploymentBase({ given: 'none', pushed: '1', dispatched: '2' }, earlier)).toBe('none');
  });

  it('is the later one of the last successful deploys', () => {
    expect(deploymentBase({ given: '', pushed: '1', dispatched: '2' }, earlier)).toBe('2');
    expect(deploymentBase({ given: '', pushed: '3', dispatched: '2' }, earlier)).toBe('3');
    expect(deploymentBase({ given: '', pushed: '2', dispatched: '2' }, earlier)).toBe('2');
  });

  it('is the one that is there', () => {
    expect(deploymentBase({ given: '', pushed: '1', dispatched: '' }, earlier)).toBe('1');
    expect(deploymentBase({ given: '', pushed: '', dispatched: '2' }, earlier)).toBe('2');
  });

  it('is never guessed', () => {
    expect(() => deploymentBase({ given: '', pushed: '', dispatched: '' }, earlier)).toThrow(/base "none"/);
  });
});
