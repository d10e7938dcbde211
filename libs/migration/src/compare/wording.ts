/** Figures in sentences. */
import type { ComparisonInterval } from './comparison.ts';

/** `1 job`, `2 jobs`. */
export function inWords(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** A share, as `12 %`. */
export function percent(share: number): string {
  return `${Number((share * 100).toPrecision(2))} %`;
}

/** US dollars, with three digits that count. */
export function usd(value: number): string {
  if (value === 0) return '$0';
  return value >= 100 ? `$${Math.round(value).toLocaleString('en')}` : `$${Number(value.toPrecision(3))}`;
}

/** A ratio's interval, as `0.8 to 1.1 times as much (95 % interval)`. */
export function times({ lower, upper }: ComparisonInterval): string {
  if (upper === null)
    return lower > 0 ? `at least ${lower.toFixed(2)} times as much` : 'how much more or less is not known';
  return `${lower.toFixed(2)} to ${upper.toFixed(2)} times as much (95 % interval)`;
}
