import type { Comparison } from './comparison.ts';

/** Inputs as a report can show them: files by their name. */
export function shownInputs(inputs: object): Comparison['inputs'][number] {
  return Object.fromEntries(
    Object.entries(inputs).flatMap(([name, value]: [string, unknown]) => {
      const shown = shownValue(value);
      return shown === undefined ? [] : [[name, shown]];
    }),
  );
}

function shownValue(value: unknown): string | number | boolean | undefined {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  if (typeof value !== 'object' || value === null) return undefined;
  if ('name' in value && typeof value.name === 'string') return value.name;
  if ('path' in value && typeof value.path === 'string') return value.path.split(/[\\/]/).at(-1);
  // A signed address may carry a credential behind its path.
  if ('url' in value && typeof value.url === 'string') return value.url.split(/[?#]/)[0];
  return undefined;
}
