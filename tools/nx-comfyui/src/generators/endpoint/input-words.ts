import type { EndpointInput } from '@ryla/workflow';

/** What is said of an input, beside its description: `1 to 50; 4 by default`. Empty where there is nothing. */
export function limitsOf(input: EndpointInput): string {
  switch (input.type) {
    case 'integer':
    case 'number':
      return rangeOf(input.minimum, input.maximum);
    case 'string':
    case 'text':
      return input.maxLength === undefined ? '' : `at most ${input.maxLength} characters`;
    case 'enum':
      return input.values.length > LONGEST_LIST
        ? `one of ${input.values.length} values`
        : input.values.join(', ');
    default:
      return '';
  }
}

/** An input's default in one short piece of text; `undefined` where it has none. */
export function defaultOf({ default: value }: EndpointInput): string | undefined {
  if (value === undefined || value === '') return undefined;
  const text = String(value).replace(/\s+/g, ' ').trim();
  return text.length > LONGEST_DEFAULT ? `${text.slice(0, LONGEST_DEFAULT - 1)}…` : text;
}

/** Whether an input is a file that a caller sends. */
export function isFile({ type }: EndpointInput): boolean {
  return type === 'image' || type === 'mask' || type === 'video' || type === 'audio';
}

/** Whether a caller must give it. */
export function isNeeded({ required, default: value }: EndpointInput): boolean {
  return required && value === undefined;
}

/** Values of an enum that a table repeats. */
const LONGEST_LIST = 8;

/** Characters of a default that a table repeats. */
const LONGEST_DEFAULT = 60;

function rangeOf(minimum: number | undefined, maximum: number | undefined): string {
  if (minimum === undefined) return maximum === undefined ? '' : `at most ${limit(maximum)}`;
  return maximum === undefined ? `at least ${limit(minimum)}` : `${limit(minimum)} to ${limit(maximum)}`;
}

function limit(value: number): string {
  if (value === Number.MAX_SAFE_INTEGER) return '2^53-1';
  return value === Number.MIN_SAFE_INTEGER ? '-(2^53-1)' : String(value);
}
