import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { assignBuckets, bucketOf, BUCKETS, createRoutes, type Route, tryOrder } from './routes.ts';

const NAMES = ['modal', 'runpod', 'cloud', 'own'];

function route(weights: readonly number[]): Route {
  return weights.map((weight, index) => ({ backend: NAMES[index] ?? '', weight }));
}

function counts(assigned: Uint16Array, places: number): number[] {
  return Array.from({ length: places }, (_, place) => assigned.filter((at) => at === place).length);
}

function moved(before: Uint16Array, after: Uint16Array): number {
  return before.filter((place, bucket) => place !== after[bucket]).length;
}

/** The least number of buckets that must move between two sets of shares. */
function necessary(before: Uint16Array, after: Uint16Array, places: number): number {
  const [from, to] = [counts(before, places), counts(after, places)];
  return from.reduce((sum, count, place) => sum + Math.max(0, count - (to[place] ?? 0)), 0);
}

const weight = fc.integer({ min: 0, max: 100 });
const some = (weights: readonly number[]): boolean => weights.some((one) => one > 0);
const pair = fc.tuple(weight, weight).filter(some);
const several = fc.array(weight, { minLength: 3, maxLength: 4 }).filter(some);

describe('routes', () => {
  it('give every backend its share, to the bucket', () => {
    fc.assert(
      fc.property(fc.oneof(pair, several), (weights) => {
        const whole = weights.reduce((sum, one) => sum + one);
        const found = counts(assignBuckets(route(weights)), weights.length);
        for (const [place, one] of weights.entries())
          expect(Math.abs((found[place] ?? 0) - (one / whole) * BUCKETS)).toBeLessThan(1);
      }),
      { numRuns: 25 },
    );
  });

  it('move exactly the necessary share between two backends', () => {
    fc.assert(
      fc.property(pair, pair, (first, second) => {
        const [before, after] = [assignBuckets(route(first)), assignBuckets(route(second))];
        expect(moved(before, after)).toBe(necessary(before, after, 2));
      }),
      { numRuns: 25 },
    );
  });

  it('move the necessary share and at most 1.5 % more when one of several weights changes', () => {
    fc.assert(
      fc.property(several, fc.nat(3), weight, (weights, at, changed) => {
        const next = weights.with(at % weights.length, changed);
        fc.pre(some(next));
        const [before, after] = [assignBuckets(route(weights)), assignBuckets(route(next))];
        const least = necessary(before, after, weights.length);
        expect(moved(before, after) - least).toBeLessThanOrEqual(0.015 * BUCKETS);
      }),
      { numRuns: 25 },
    );
  });

  it('give names their places whatever their order', () => {
    const [one, other] = [route([30, 70]), route([30, 70]).toReversed()];
    const name = (of: Route, place: number): string | undefined => of[place]?.backend;
    const [first, second] = [assignBuckets(one), assignBuckets(other)];
    expect([...first].map((place) => name(one, place))).toEqual(
      [...second].map((place) => name(other, place)),
    );
  });

  it('keep a key in its bucket for good', () => {
    expect(['a', 'b', 'user-17'].map((key) => bucketOf('photo-finish', key))).toEqual([2830, 9345, 3346]);
    expect(bucketOf(undefined, 'a')).not.toBe(bucketOf('photo-finish', 'a'));
    const keys = Array.from({ length: 20_000 }, (_, index) => bucketOf('e', `key-${index}`));
    expect(keys.filter((bucket) => bucket < BUCKETS / 10).length / keys.length).toBeCloseTo(0.1, 1);
  });

  it('fail over in order to those that have a share or are told to take over', () => {
    const three: Route = [
      { backend: 'a', weight: 1 },
      { backend: 'b', weight: 0 },
      { backend: 'c', weight: 0, failover: true },
      { backend: 'd', weight: 5 },
      { backend: 'e', weight: 5, failover: false },
    ];
    expect(tryOrder(three, 3)).toEqual(['d', 'a', 'c']);
    expect(tryOrder(three, 4)).toEqual(['e', 'a', 'c', 'd']);
  });

  it('change at run time, as a whole or not at all', () => {
    const routes = createRoutes({ default: route([0, 1]) });
    const heard: unknown[] = [];
    const end = routes.subscribe((table) => heard.push(table));
    expect(routes.backendsFor('grey', 'k')).toEqual(['runpod']);
    routes.set('grey', route([1, 0]));
    expect(routes.backendsFor('grey', 'k')).toEqual(['modal']);
    expect(routes.backendsFor(undefined, 'k')).toEqual(['runpod']);
    for (const wrong of [[], route([0, 0]), route([-1, 2]), route([NaN]), [...route([1]), ...route([1])]])
      expect(() => routes.set('grey', wrong)).toThrow(
        expect.objectContaining({ code: 'invalid_configuration' }),
      );
    expect(routes.backendsFor('grey', 'k')).toEqual(['modal']);
    routes.set('grey', undefined);
    expect(routes.backendsFor('grey', 'k')).toEqual(['runpod']);
    expect(heard).toHaveLength(2);
    end();
    routes.replace({ default: route([1, 1]) });
    expect(heard).toHaveLength(2);
  });
});
