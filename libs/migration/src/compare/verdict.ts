/** What a comparison comes to: its checks, and a sentence. */
import { rateInterval } from '../statistics/binomial.ts';
import type { ComparedLatency, ComparedPair, Comparison, ComparisonCheck } from './comparison.ts';
import { BUSY, projectedCost } from './costs.ts';
import { bounds, LEVELS_95 } from './latencies.ts';
import { chanceOfAny, floorOf } from './noise-floor.ts';
import { inWords, percent, times, usd } from './wording.ts';

/** What {@link checksOf} judges. */
export type Findings = Omit<Comparison, 'checks' | 'verdict' | 'thumbnails'>;

/** New by old, as the gates of the stages have it by default: surely above fails, surely below passes. */
const RATIOS = { failAbove: 1.25, passBelow: 2 } as const;

/** Milliseconds below which a median is fine, whatever that of the old side: as the execution gate. */
const NEGLIGIBLE_MS = 500;

/** Share of pictures beyond the noise floor that surely is too many: as the parity gate. */
const DIFFERING = 0.02;

/** How likely equal sides must be to have so many pictures beyond the noise floor, for them to pass. */
const CHANCE = 0.05;

/** How many outputs differ, of those that could be judged. */
export function parityOf(pairs: readonly ComparedPair[], floors: Comparison['floors']): Comparison['parity'] {
  const own = pairs.filter(({ against }) => against === 'new');
  const look = own.filter(({ result }) => result === 'look').length;
  const differing = own.filter(({ result }) => result === 'differs');
  const judged = own.length - look;
  const withoutFloor = differing.filter((pair) => floorOf(floors, pair) === undefined).length;
  const far = withoutFloor + floors.reduce((sum, floor) => sum + floor.far, 0);
  return {
    judged,
    differing: differing.length,
    far,
    interval: bounds(rateInterval(differing.length, judged, LEVELS_95)),
    chance: far > 0 ? 0 : chanceOfAny(floors),
    look,
  };
}

/** All conditions, in the order in which they matter. */
export function checksOf(findings: Findings): ComparisonCheck[] {
  return [
    jobsCheck(findings),
    factsCheck(findings),
    parityCheck(findings),
    latencyCheck(findings),
    costCheck(findings),
    ...monthCheck(findings),
  ];
}

/** The verdict, from the worst check. */
export function verdictOf(findings: Findings, checks: readonly ComparisonCheck[]): Comparison['verdict'] {
  const has = (state: ComparisonCheck['state']): boolean => checks.some((check) => check.state === state);
  const state = has('fail') ? 'not-ready' : has('unsure') ? 'unsure' : has('look') ? 'look' : 'ready';
  const { old, new: now } = findings.sides;
  const worst = checks.find(
    (check) => check.state === { 'not-ready': 'fail', unsure: 'unsure', look: 'look', ready: 'pass' }[state],
  );
  const end = {
    ready: 'every check passes.',
    'not-ready': `it is not ready. ${worst?.text ?? ''}`,
    unsure: `more is needed to be sure. ${worst?.text ?? ''}`,
    look: `a person must look at ${inWords(findings.parity.look, 'output')}.`,
  }[state];
  return { state, sentence: `${findings.endpoint} from ${old.backend} to ${now.backend}: ${end}` };
}

function jobsCheck({ sides }: Findings): ComparisonCheck {
  const { old, new: now } = sides;
  const text = `${now.failed} of ${inWords(now.jobs, 'job')} failed on the new side, ${old.failed} of ${old.jobs} on the old.`;
  if (now.failed * old.jobs > old.failed * now.jobs) return { name: 'jobs', state: 'fail', text };
  return { name: 'jobs', state: now.failed === 0 ? 'pass' : 'unsure', text };
}

function factsCheck({ pairs }: Findings): ComparisonCheck {
  const own = pairs.filter(({ against }) => against === 'new');
  const wrong = own.filter(({ result, difference }) => result === 'differs' && difference === null);
  if (own.length === 0) return { name: 'facts', state: 'unsure', text: 'No outputs were compared.' };
  if (wrong.length === 0) {
    const text = `Count, kind, format, size and text of ${inWords(own.length, 'output')} are exactly alike.`;
    return { name: 'facts', state: 'pass', text };
  }
  const first = wrong[0]?.reasons[0] ?? '';
  const text = `${wrong.length} of ${inWords(own.length, 'output')} are of another count, kind, format, size or text: ${first}`;
  return { name: 'facts', state: 'fail', text };
}

function parityCheck({ parity, floors }: Findings): ComparisonCheck {
  const name = 'parity';
  const { judged, differing, far, look, interval, chance } = parity;
  if (judged + look === 0) return { name, state: 'unsure', text: 'No outputs were compared.' };
  const beyond = `${differing} of ${inWords(judged, 'judged output')} differ by more than the old side from itself`;
  const likely =
    far > 0
      ? ` ${far} of them by so much that chance does not explain it.`
      : ` Equal sides would have so many with a probability of up to ${percent(chance)}.`;
  const unsure = floors.filter(({ isSure, pairs }) => !isSure && pairs > 0).map(({ pairs }) => pairs);
  const few =
    unsure.length === 0
      ? ''
      : ` The noise floor of an output is that of ${inWords(Math.min(...unsure), 'pair')} only.`;
  const eyes = look === 0 ? '' : ` ${inWords(look, 'output')} could not be judged: look at them.`;
  const text = `${beyond}; the true share may be up to ${percent(interval.upper ?? 1)}.${differing === 0 ? '' : likely}${few}${eyes}`;
  if (chance >= CHANCE) return { name, state: look === 0 ? 'pass' : 'look', text };
  return { name, state: interval.lower > DIFFERING ? 'fail' : 'unsure', text };
}

function latencyCheck({ latency }: Findings): ComparisonCheck {
  const name = 'latency';
  const total = latency.filter(
    ({ phase, old, new: now }) => phase === 'total' && old.jobs > 0 && now.jobs > 0,
  );
  const best = total.find(({ start }) => start === 'warm') ?? total.find(({ start }) => start === 'any');
  if (best === undefined || best.old.median === null || best.new.median === null)
    return { name, state: 'unsure', text: 'No latencies were measured on both sides.' };
  const { lower, upper } = best.medianRatio;
  const text = latencyText(best, best.old.median, best.new.median);
  if (best.start === 'any') {
    const why = 'Which jobs were cold is not known, or no warm ones ran on both sides.';
    return { name, state: 'unsure', text: `${text} ${why}` };
  }
  const most = best.new.medianInterval.upper;
  if (most !== null && most < NEGLIGIBLE_MS) return { name, state: 'pass', text };
  if (lower > RATIOS.failAbove) return { name, state: 'fail', text };
  return { name, state: upper !== null && upper < RATIOS.passBelow ? 'pass' : 'unsure', text };
}

function latencyText({ start, medianRatio }: ComparedLatency, old: number, now: number): string {
  const seconds = (milliseconds: number): string => `${(milliseconds / 1_000).toFixed(2)} s`;
  return `The median of ${start === 'warm' ? 'warm' : 'all'} jobs is ${seconds(now)}, ${seconds(old)} on the old side: ${times(medianRatio)}.`;
}

function costCheck({ sides, costRatio }: Findings): ComparisonCheck {
  const name = 'cost';
  const { old, new: now } = sides;
  if (old.usdPerPicture === null || now.usdPerPicture === null)
    return {
      name,
      state: 'unsure',
      text: 'The cost is not known: card, price or duration of a side is missing.',
    };
  const figures = `An output costs ${usd(now.usdPerPicture)}, ${usd(old.usdPerPicture)} on the old side, idle time left out`;
  if (costRatio.upper === null)
    return {
      name,
      state: 'unsure',
      text: `${figures}; 30 jobs with a cost on each side are needed to be sure.`,
    };
  const text = `${figures}: ${times(costRatio)}.`;
  if (costRatio.lower > RATIOS.failAbove) return { name, state: 'fail', text };
  return { name, state: costRatio.upper < RATIOS.passBelow ? 'pass' : 'unsure', text };
}

/** What a month costs at the team's volume; none where no volume was given. A reckoning, not a measurement: it has no interval. */
function monthCheck({ sides, volume }: Findings): ComparisonCheck[] {
  if (volume === undefined) return [];
  const name = 'month';
  const [old, now] = [projectedCost(sides.old, volume), projectedCost(sides.new, volume)];
  if (old === undefined || now === undefined || old.usdPerMonth === 0) {
    const text =
      "A month's cost is not known: the card, price, execution time or idle time of a side is missing.";
    return [{ name, state: 'unsure', text }];
  }
  const ratio = now.usdPerMonth / old.usdPerMonth;
  const figures = `${volume.jobsPerMonth} jobs a month over ${volume.hoursPerDay} hours a day cost about ${usd(now.usdPerMonth)}, ${usd(now.idleUsd)} of it idle; ${usd(old.usdPerMonth)} and ${usd(old.idleUsd)} on the old side.`;
  const busy =
    Math.max(old.utilisation, now.utilisation) > BUSY
      ? ' One worker would be too busy: the figures are rough.'
      : '';
  const text = `${figures} That is ${ratio.toFixed(2)} times as much.${busy}`;
  if (ratio >= RATIOS.passBelow) return [{ name, state: 'fail', text }];
  return [{ name, state: ratio <= RATIOS.failAbove && busy === '' ? 'pass' : 'unsure', text }];
}
