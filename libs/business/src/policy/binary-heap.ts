/** What lies in a {@link BinaryHeap}: it knows its place, so that it can be moved and taken out in O(log n). */
export interface HeapEntry {
  /** Kept by the heap; -1 while the entry is in none. */
  heapIndex: number;
}

/** A binary heap over an array. All changes are O(log n); the first is known in O(1). */
export class BinaryHeap<T extends HeapEntry> {
  readonly #entries: T[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;

  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get size(): number {
    return this.#entries.length;
  }

  /** The first entry, left where it is. */
  peek(): T | undefined {
    return this.#entries[0];
  }

  /** Takes the first entry out. */
  pop(): T | undefined {
    const first = this.#entries[0];
    if (first !== undefined) this.remove(first);
    return first;
  }

  push(entry: T): void {
    this.#rise(entry, this.#entries.length);
  }

  /** Finds the new place of an entry whose order has changed; nothing for one that is not here. */
  update(entry: T): void {
    if (this.#entries[entry.heapIndex] === entry) this.#settle(entry, entry.heapIndex);
  }

  /** Takes an entry out; nothing for one that is not here. */
  remove(entry: T): void {
    const index = entry.heapIndex;
    if (this.#entries[index] !== entry) return;
    const last = this.#entries.pop();
    entry.heapIndex = -1;
    if (last !== undefined && last !== entry) this.#settle(last, index);
  }

  #settle(entry: T, index: number): void {
    this.#rise(entry, index);
    this.#sink(entry);
  }

  #rise(entry: T, from: number): void {
    let index = from;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = this.#entries[parentIndex];
      if (parent === undefined || !this.#isBefore(entry, parent)) break;
      this.#put(parent, index);
      index = parentIndex;
    }
    this.#put(entry, index);
  }

  #sink(entry: T): void {
    let index = entry.heapIndex;
    for (;;) {
      const left = this.#entries[2 * index + 1];
      const right = this.#entries[2 * index + 2];
      const child = right !== undefined && left !== undefined && this.#isBefore(right, left) ? right : left;
      if (child === undefined || !this.#isBefore(child, entry)) break;
      const next = child.heapIndex;
      this.#put(child, index);
      index = next;
    }
    this.#put(entry, index);
  }

  #put(entry: T, index: number): void {
    this.#entries[index] = entry;
    entry.heapIndex = index;
  }
}
