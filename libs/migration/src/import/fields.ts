/** Reads fields of exported things; one of another type than expected is left for a person. */
import type { Fate, Ledger, Place } from './ledger.ts';

/** The fields of one exported thing. */
export class Fields {
  readonly #ledger: Ledger;
  readonly place: Place;

  constructor(ledger: Ledger, place: Place) {
    this.#ledger = ledger;
    this.place = place;
  }

  /** Fields of what lies at a name, whether there is something or not. */
  within(name: string | number): Fields {
    return new Fields(this.#ledger, [...this.place, name]);
  }

  text(name: string): string | undefined {
    const value = this.value(name);
    return typeof value === 'string' ? value : undefined;
  }

  /** A finite number that is 0 or more. */
  number(name: string): number | undefined {
    const value = this.value(name);
    return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
  }

  whole(name: string): number | undefined {
    const value = this.number(name);
    return Number.isSafeInteger(value) ? value : undefined;
  }

  /** A list of texts only. */
  texts(name: string): readonly string[] | undefined {
    const value = this.value(name);
    return Array.isArray(value) && value.every((each) => typeof each === 'string') ? value : undefined;
  }

  /** Names and values of an object of texts only. */
  record(name: string): readonly (readonly [string, string])[] | undefined {
    const value = this.value(name);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const entries = Object.entries(value).map(([key, each]: [string, unknown]) => [key, each] as const);
    return entries.filter((entry): entry is readonly [string, string] => typeof entry[1] === 'string');
  }

  value(name: string | number): unknown {
    return this.#ledger.read([...this.place, name]);
  }

  has(name: string): boolean {
    return this.value(name) !== undefined;
  }

  /** Says what becomes of a field and all below it. */
  claim(fate: Fate, name: string | number, note: string): void {
    this.#ledger.claim(fate, [...this.place, name], note);
  }

  /** The same for everything that is here. */
  claimAll(fate: Fate, note: string): void {
    this.#ledger.claim(fate, this.place, note);
  }

  /** The same for a field that says nothing: absent, null, false, 0, or an empty text, list or object. */
  claimEmpty(...names: readonly string[]): void {
    for (const name of names) if (isEmpty(this.value(name))) this.claim('exact', name, 'Says nothing.');
  }
}

function isEmpty(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === null || value === false || value === '' || value === 0;
}
