import assert from 'node:assert/strict';

import { describe, expect, it } from 'vitest';

import { seeded } from '../seeded.ts';
import type { ComparedPair, NoiseFloor } from './comparison.ts';
import {
  chanceOf,
  chanceOfAny,
  type Circumstances,
  floorOf,
  judgedFloor,
  judgePair,
  limitsWithoutFloor,
  noiseFloors,
  ROUNDING,
} from './noise-floor.ts';
import type { UnjudgedPair } from './pair-outputs.ts';
import { parityOf } from './verdict.ts';

const CIRCUMSTANCES: Circumstances = { determinism: 'exact', hasOneCard: true, rounding: ROUNDING };

/** How likely equal sides must be to have so many beyond their floors, for them to pass: as the verdict has it. */
const CHANCE = 0.05;

/** Where an output is. */
interface Place {
  readonly node: string;
  readonly index?: number;
}

function pairOf(
  place: Place,
  run: number,
  against: ComparedPair['against'],
  sizes: readonly number[],
): UnjudgedPair {
  const [ssimLoss = 0, hashBits = 0, meanDifference = 0] = sizes;
  return {
    ...{ run, against, node: place.node, index: place.index ?? 0, name: 'a.png', kind: 'image' },
    ...{ result: undefined, reasons: [], thumbnails: undefined },
    difference: { ssimLoss, hashBits, meanDifference, changedShare: 1, largest: 1 },
  };
}

/** Runs whose outputs are as far from the old ones as `distance` says; three distances each. */
function runsOf(
  places: readonly Place[],
  runs: number,
  distance: (place: Place, against: ComparedPair['against']) => number,
): UnjudgedPair[] {
  const all = Array.from({ length: runs }, (_, run) =>
    places.flatMap((place) =>
      (['old-again', 'new'] as const).map((against) =>
        pairOf(
          place,
          run,
          against,
          Array.from({ length: 3 }, () => distance(place, against)),
        ),
      ),
    ),
  );
  return all.flat();
}

function judged(unjudged: readonly UnjudgedPair[]): {
  readonly pairs: readonly ComparedPair[];
  readonly floors: NoiseFloor[];
  readonly parity: ReturnType<typeof parityOf>;
} {
  const measured = noiseFloors(unjudged, CIRCUMSTANCES);
  const unknown = limitsWithoutFloor(CIRCUMSTANCES);
  const pairs = unjudged.map((pair) =>
    judgePair(pair, floorOf(measured, pair)?.limits ?? unknown, CIRCUMSTANCES),
  );
  const floors = measured.map((floor) => judgedFloor(floor, pairs));
  return { pairs, floors, parity: parityOf(pairs, floors) };
}

function placesOf(count: number): readonly Place[] {
  return Array.from({ length: count }, (_, index) => ({ node: String(index) }));
}

describe('every output has a noise floor of its own', () => {
  it('so that a restless one hides nothing of a quiet one', () => {
    const random = seeded(1);
    const [preview, final] = [{ node: 'preview' }, { node: 'final' }];
    const isRestless = (place: Place): boolean => place.node === 'preview';
    const { floors, pairs, parity } = judged(
      runsOf([preview, final], 40, (place, against) => {
        const broken = !isRestless(place) && against === 'new' ? 0.3 : 0;
        return broken + random() * (isRestless(place) ? 1 : 0.01);
      }),
    );
    assert.deepEqual(
      floors.map(({ node, pairs: count, differing, far }) => [node, count, differing, far]),
      [
        ['preview', 40, floors[0]?.differing, 0],
        ['final', 40, 40, 40],
      ],
    );
    // One floor for both would have let all of them pass: they are nearer than previews are from themselves.
    const largest = floors[0]?.noise.ssimLoss ?? 0;
    assert.ok(
      pairs.every(({ node, difference }) => node === 'preview' || (difference?.ssimLoss ?? 1) < largest),
    );
    assert.equal(parity.chance, 0);
  });

  it('and outputs of one node that are many share one', () => {
    const random = seeded(2);
    const batch = (count: number): Place[] =>
      Array.from({ length: count }, (_, index) => ({ node: '9', index }));
    expect(judged(runsOf(batch(8), 5, random)).floors.map(({ index }) => index)).toEqual([
      ...[0, 1, 2, 3, 4, 5, 6, 7],
    ]);
    expect(judged(runsOf(batch(9), 5, random)).floors).toMatchObject([{ node: '9', index: null, pairs: 45 }]);
  });

  it('and what has no distances has none', () => {
    const text = { ...pairOf({ node: '3' }, 0, 'new', []), difference: null, result: 'differs' } as const;
    const { floors, parity } = judged([text]);
    assert.deepEqual(floors, []);
    assert.deepEqual([parity.differing, parity.far, parity.chance], [1, 1, 0]);
  });
});

describe('equal sides', () => {
  /** How many of so many comparisons of equal sides do not pass, and in how many of them because something is far. */
  function refused(
    outputs: number,
    runs: number,
    rounds: number,
  ): { readonly all: number; readonly far: number } {
    const random = seeded(outputs * 1_000 + runs);
    let [all, far] = [0, 0];
    for (let round = 0; round < rounds; round += 1) {
      const { parity } = judged(runsOf(placesOf(outputs), runs, () => -Math.log(1 - random())));
      if (parity.chance < CHANCE) all += 1;
      if (parity.far > 0) far += 1;
    }
    return { all, far };
  }

  it.each([
    [1, 30],
    [2, 30],
    [4, 30],
    [2, 120],
  ])(
    'with %i outputs and %i runs are beyond the floors by chance in less than one of twenty of 1,000 comparisons',
    (outputs, runs) => {
      const { all, far } = refused(outputs, runs, 1_000);
      assert.ok(all - far <= 50, `${all - far} near`);
      // 2.5 %, give or take what 1,000 comparisons leave open.
      assert.ok(far <= 40, `${far} far`);
    },
  );

  it('are told from others: twice as far in every output', () => {
    const random = seeded(5);
    const { parity } = judged(
      runsOf(placesOf(3), 60, (_, against) => random() * (against === 'new' ? 2 : 1)),
    );
    assert.ok(parity.chance < 1e-6, `${parity.chance}`);
  });
});

describe('the chance of so many beyond the noise floor', () => {
  const of = (pairs: number): { pairs: number; quantile: number } => ({ pairs, quantile: 0.99 });

  it('is that of every order of both sides being as likely', () => {
    // Of 3 old pairs and 2 new ones the largest is new with 2/5, both largest are new with 2/5 * 1/4.
    assert.ok(Math.abs(chanceOf(2, 2, of(3)) - (2 / 5) * (1 / 4)) < 1e-9);
    assert.ok(Math.abs(chanceOf(1, 2, of(3)) - 2 / 5) < 1e-9);
    assert.deepEqual([chanceOf(0, 5, of(5)), chanceOf(1, 5, of(0))], [1, 0]);
  });

  it('is hardly ever small for equal sides, and always for others', () => {
    const random = seeded(3);
    let alarms = 0;
    for (let round = 0; round < 1_000; round += 1) {
      const floor = Array.from({ length: 120 }, random).toSorted((a, b) => a - b);
      const limit = floor[118] ?? 0; // the p99 by nearest rank
      const beyond = Array.from({ length: 120 }, random).filter((value) => value > limit).length;
      if (chanceOf(beyond, 120, of(120)) < CHANCE) alarms += 1;
    }
    assert.ok(alarms <= 50, `${alarms} of 1,000`);
    assert.ok(chanceOf(40, 120, of(120)) < 1e-6);
  });

  it('of any output is so many times the smallest', () => {
    assert.equal(chanceOfAny([]), 1);
    assert.equal(chanceOfAny([{ chance: 0.01 }, { chance: 0.5 }, { chance: 1 }]), 0.03);
    assert.equal(chanceOfAny([{ chance: 0.8 }, { chance: 1 }]), 1);
  });
});
