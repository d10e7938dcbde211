/** Keeps account of an account: every value that was read ends in exactly one of three lists. */

/** Place of a value in the input: names and positions from the top. */
export type Place = readonly (string | number)[];

/** What becomes of a value. */
export type Fate = 'exact' | 'changes' | 'person';

/** A value of the input, and what becomes of it. */
export interface Entry {
  readonly fate: Fate;
  /** `endpoints/0/workers/min` */
  readonly path: string;
  /** What stands for it afterwards, or why it changes, or what somebody has to do. */
  readonly note: string;
}

/** Values of an input that was imported. */
export class Ledger {
  readonly #root: unknown;
  readonly #leaves = new Map<string, Entry | undefined>();

  constructor(root: unknown) {
    this.#root = root;
    for (const place of leavesOf(root, [])) this.#leaves.set(keyOf(place), undefined);
  }

  /** The value at a place; undefined where there is none. */
  read(place: Place): unknown {
    let value: unknown = this.#root;
    for (const step of place) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
      value = Reflect.get(value, step);
    }
    return value;
  }

  /** Says what becomes of all values at and below a place that nobody has said it of. */
  claim(fate: Fate, place: Place, note: string): void {
    const key = keyOf(place);
    for (const [leaf, entry] of this.#leaves) {
      if (entry === undefined && (leaf === key || leaf.startsWith(`${key}/`)))
        this.#leaves.set(leaf, { fate, path: leaf, note });
    }
  }

  /** All values in the order of the input. What nobody knew what to do with needs a person. */
  entries(): readonly Entry[] {
    return [...this.#leaves].map(
      ([path, entry]) =>
        entry ?? {
          fate: 'person',
          path,
          note: 'The importer does not know this field, or not with this value.',
        },
    );
  }
}

/** Places of all values that hold no others; an empty list or object is one. */
export function* leavesOf(value: unknown, place: Place): Generator<Place> {
  if (typeof value !== 'object' || value === null) {
    yield place;
    return;
  }
  const children: readonly (readonly [string | number, unknown])[] = Array.isArray(value)
    ? value.map((child: unknown, index) => [index, child] as const)
    : Object.entries(value);
  if (children.length === 0) yield place;
  for (const [step, child] of children) yield* leavesOf(child, [...place, step]);
}

/** A place in words, as JSON Pointer writes it, without the first slash. */
export function keyOf(place: Place): string {
  return place.map((step) => String(step).replaceAll('~', '~0').replaceAll('/', '~1')).join('/');
}
