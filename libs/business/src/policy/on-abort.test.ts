import { getEventListeners } from 'node:events';

import { describe, expect, it } from 'vitest';

import { onAbort } from './on-abort.ts';

describe('waiting for an abort', () => {
  it('calls everybody back once, through one listener, and leaves nothing behind', () => {
    const stop = new AbortController();
    const listeners = (): number => getEventListeners(stop.signal, 'abort').length;
    const called: string[] = [];
    const same = (): void => void called.push('same');
    const leave = onAbort(stop.signal, () => called.push('left'));
    onAbort(stop.signal, same);
    onAbort(stop.signal, same);
    expect(listeners()).toBe(1);
    leave();
    leave();
    stop.abort();
    expect(called).toEqual(['same', 'same']);
    expect(listeners()).toBe(0);
  });

  it('lets go of the signal with the last who waits', () => {
    const { signal } = new AbortController();
    const leaves = [1, 2].map(() => onAbort(signal, () => undefined));
    for (const leave of leaves) leave();
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    const again = onAbort(signal, () => undefined);
    leaves[0]?.();
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    again();
  });
});
