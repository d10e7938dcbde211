import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { BinaryHeap, type HeapEntry } from './binary-heap.ts';

interface Entry extends HeapEntry {
  key: number;
}

describe('a binary heap', () => {
  it('gives the smallest first after any pushes, changes and removals', () => {
    const step = fc.record({
      does: fc.constantFrom('push', 'push', 'pop', 'update', 'remove'),
      key: fc.integer({ min: 0, max: 50 }),
      at: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const heap = new BinaryHeap<Entry>((a, b) => a.key < b.key);
        const model: Entry[] = [];
        for (const { does, key, at } of steps) {
          const entry = model[at % model.length];
          if (does === 'push') {
            const pushed = { key, heapIndex: -1 };
            heap.push(pushed);
            model.push(pushed);
          } else if (does === 'pop') {
            const popped = heap.pop();
            expect(popped?.key).toBe(model.length === 0 ? undefined : Math.min(...model.map((e) => e.key)));
            if (popped !== undefined) model.splice(model.indexOf(popped), 1);
          } else if (entry !== undefined && does === 'update') {
            entry.key = key;
            heap.update(entry);
          } else if (entry !== undefined) {
            heap.remove(entry);
            heap.remove(entry);
            model.splice(model.indexOf(entry), 1);
          }
          expect(heap.size).toBe(model.length);
          expect(heap.peek()?.key).toBe(
            model.length === 0 ? undefined : Math.min(...model.map((e) => e.key)),
          );
        }
      }),
    );
  });
});
