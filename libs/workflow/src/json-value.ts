/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** An object of JSON values. */
export type JsonObject = Readonly<Record<string, Json>>;

/** Deepest nesting of constant values in an input. */
export const MAXIMUM_DEPTH = 64;

/** Keys that could reach an object's prototype when copied carelessly. */
export function isForbidden(key: string): boolean {
  // Comparisons, because a Set costs a hash look-up for each of hundreds of inputs.
  return key.length >= 9 && (key === '__proto__' || key === 'constructor' || key === 'prototype');
}

/** Whether a value is an object that is no list. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Names the kind of a value for a message: `a list`, `null`, `a number`. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'undefined' ? 'nothing' : `a ${typeof value}`;
}

/** What keeps a value from being a JSON value that may be copied safely; `undefined` when nothing does. */
export function valueProblem(value: unknown): string | undefined {
  const stack: [unknown, number][] = [[value, 0]];
  for (let entry = stack.pop(); entry !== undefined; entry = stack.pop()) {
    const [current, depth] = entry;
    if (depth > MAXIMUM_DEPTH) return `values are nested deeper than ${MAXIMUM_DEPTH} levels.`;
    if (current === null || typeof current === 'string' || typeof current === 'boolean') continue;
    if (typeof current === 'number') {
      if (!Number.isFinite(current)) return `${String(current)} is not a JSON number.`;
    } else if (Array.isArray(current)) {
      for (const item of current) stack.push([item, depth + 1]);
    } else if (isObject(current)) {
      for (const key of Object.keys(current)) {
        if (isForbidden(key)) return `the key "${key}" is not allowed.`;
        stack.push([current[key], depth + 1]);
      }
    } else {
      return `${describe(current)} is not a JSON value.`;
    }
  }
  return undefined;
}
