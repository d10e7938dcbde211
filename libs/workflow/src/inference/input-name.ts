/** `First frame (start)` as `firstFrameStart`; the empty text where no Latin letter is left. */
export function camelCase(text: string): string {
  const words = text
    .normalize('NFKD')
    .replace(/([a-z\d])([A-Z])/g, '$1 $2')
    .split(/[^A-Za-z\d]+/)
    .filter((word) => word !== '');
  const joined = words
    .map((word, index) =>
      index === 0 ? word.toLowerCase() : word.charAt(0).toUpperCase() + word.slice(1).toLowerCase(),
    )
    .join('');
  return joined.replace(/^\d+/, '').replace(/^[A-Z]/, (letter) => letter.toLowerCase());
}

/** Names not yet taken: hands out the first free one of some, else the first with a number. */
export class NameList {
  readonly #taken = new Set<string>();
  /** Number to try next, by name: else the thousandth prompt would try a thousand. */
  readonly #next = new Map<string, number>();

  take(...wished: readonly string[]): string {
    // What every object answers to is no name for an input.
    const wishes = wished.map((wish) => (wish in Object.prototype ? `${wish}Value` : wish));
    const [first = 'input'] = wishes.filter((wish) => wish !== '');
    let name = wishes.find((wish) => wish !== '' && !this.#taken.has(wish));
    for (let count = this.#next.get(first) ?? 2; name === undefined; count += 1) {
      if (!this.#taken.has(`${first}${count}`)) name = `${first}${count}`;
      this.#next.set(first, count + 1);
    }
    this.#taken.add(name);
    return name;
  }
}
