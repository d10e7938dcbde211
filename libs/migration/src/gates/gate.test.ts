import assert from 'node:assert/strict';

import { describe, it } from 'vitest';

import { LOOK_SIZES } from '../statistics/looks.ts';
import { p95Comparison, plainRate, rateComparison } from './comparisons.ts';
import { type GateResult, look, type Series } from './gate.ts';
import { LEVELS } from './gates.ts';

const lines = { rollBackAbove: 1, advanceBelow: 2, negligible: 0.01 };

describe('a look', () => {
  it('says nothing before the first look, and how many jobs that takes', () => {
    const { state, looked, needed } = failures([1, 1, 1], [0]);
    assert.equal(state, 'undecided');
    assert.equal(looked, 0);
    assert.ok((needed ?? 0) >= 20);
  });

  it('shows a disaster at the first look', () => {
    assert.equal(failures(repeated(1, 20), rateOf(0.02, 500)).state, 'worse');
    assert.equal(failures(repeated(1, 20), repeated(0, 500)).state, 'worse');
  });

  it('is the same whatever comes after it', () => {
    const early = failures(rateOf(0.1, 100), rateOf(0.02, 100));
    const late = failures([...rateOf(0.1, 67), ...repeated(1, 30)], rateOf(0.02, 100));
    assert.equal(early.looked, 67);
    assert.deepEqual(late.interval, failures(rateOf(0.1, 67), rateOf(0.02, 100)).interval);
  });

  it('takes the old side as it was at that time', () => {
    const current = series(rateOf(0.1, 20));
    const before = look(rateComparison, current, series(rateOf(0.1, 20)), lines, LEVELS);
    const later = { times: [...series(rateOf(0.1, 20)).times, 99], values: [...rateOf(0.1, 20), 1] };
    assert.deepEqual(look(rateComparison, current, later, lines, LEVELS).interval, before.interval);
  });

  it('finds a side without failures fine once enough jobs have run, as many as it said', () => {
    const { needed = 0 } = failures(repeated(0, 20), repeated(0, 20));
    assert.equal(failures(repeated(0, needed), repeated(0, needed)).state, 'fine');
    const fewer = LOOK_SIZES.findLast((size) => size < needed) ?? 0;
    assert.equal(failures(repeated(0, fewer), repeated(0, fewer)).state, 'undecided');
  });

  it('lets rare failures below the negligible rate be', () => {
    // 8 of 2,594 against 0 of 20,000 is surely more, and surely below 1 %.
    const { interval, state } = failures(rateOf(0.0031, 2_594), repeated(0, 20_000));
    assert.ok(interval.lower > 1);
    assert.equal(state, 'fine');
  });

  it('compares latencies whatever their distribution', () => {
    const old = Array.from({ length: 600 }, (_, index) => 1_000 + ((index * 379) % 600));
    const latency = { rollBackAbove: 1.25, advanceBelow: 2, negligible: 100 };
    const judged = (factor: number): GateResult =>
      look(p95Comparison, series(old.map((value) => value * factor)), series(old), latency, LEVELS);
    assert.equal(judged(1).state, 'fine');
    assert.equal(judged(3).state, 'worse');
    assert.equal(judged(3).current, 3 * (judged(1).current ?? 0));
    assert.equal(judged(0.01).state, 'fine');
  });

  it('judges a plain rate without an old side', () => {
    const parity = { rollBackAbove: 0.02, advanceBelow: 0.05, negligible: 0 };
    const judged = (values: readonly number[]): GateResult =>
      look(plainRate, series(values), series([]), parity, LEVELS);
    assert.equal(judged(rateOf(0.01, 768)).state, 'fine');
    assert.equal(judged(rateOf(0.3, 101)).state, 'worse');
    const { state, needed = 0 } = judged(rateOf(0.01, 67));
    assert.equal(state, 'undecided');
    assert.equal(judged(rateOf(0.01, needed)).state, 'fine');
  });
});

function failures(current: readonly number[], baseline: readonly number[]): GateResult {
  return look(rateComparison, series(current), series(baseline), lines, LEVELS);
}

/** All known at their own moment, 1 to n; the old side's within those of the new one. */
function series(values: readonly number[]): Series {
  return { times: values.map((_, index) => Math.min(index + 1, 20)), values };
}

function repeated(value: number, count: number): number[] {
  return Array.from({ length: count }, () => value);
}

/** Evenly spread events. */
function rateOf(rate: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) =>
    Math.floor((index + 1) * rate + 1e-9) > Math.floor(index * rate + 1e-9) ? 1 : 0,
  );
}
