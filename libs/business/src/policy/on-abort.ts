interface Waiting {
  readonly callbacks: Set<() => void>;
  readonly stop: () => void;
}

const waiting = new WeakMap<AbortSignal, Waiting>();

/**
 * Calls back when a signal aborts; what it returns ends that. One listener a signal, however many wait for it: Node
 * walks through all listeners of a signal to add or remove one, and 10,000 jobs may wait for the same.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const { callbacks } = waiting.get(signal) ?? listen(signal);
  // Not the function itself, which may be given twice.
  const call = (): void => callback();
  callbacks.add(call);
  return () => {
    callbacks.delete(call);
    const known = waiting.get(signal);
    if (callbacks.size > 0 || known?.callbacks !== callbacks) return;
    waiting.delete(signal);
    signal.removeEventListener('abort', known.stop);
  };
}

function listen(signal: AbortSignal): Waiting {
  const callbacks = new Set<() => void>();
  const stop = (): void => {
    waiting.delete(signal);
    for (const callback of [...callbacks]) callback();
  };
  const known = { callbacks, stop };
  waiting.set(signal, known);
  signal.addEventListener('abort', stop, { once: true });
  return known;
}
