import { InvalidArgumentError } from 'commander';

/** A whole number from 1. */
export function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new InvalidArgumentError('It must be a whole number from 1.');
  return number;
}

const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A moment in milliseconds since 1970: a date, or a time ago. */
export function moment(text: string): number {
  const ago = /^(\d+)([mhd])$/.exec(text);
  const found = ago === null ? Date.parse(text) : Date.now() - Number(ago[1]) * (UNITS[ago[2] ?? ''] ?? NaN);
  if (Number.isFinite(found)) return found;
  throw new InvalidArgumentError('Write a date, such as 2026-11-25, or a time ago, such as 30m, 2h or 7d.');
}

/** A number of at least 0, such as an amount of money or of megabytes. */
export function amount(text: string): number {
  const number = Number(text);
  if (text.trim() !== '' && Number.isFinite(number) && number >= 0) return number;
  throw new InvalidArgumentError('It must be a number of at least 0.');
}

/** A port: 0 for any that is free. */
export function portNumber(text: string): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number <= 65_535) return number;
  throw new InvalidArgumentError('It must be a port, 0 to 65535; 0 takes any that is free.');
}
