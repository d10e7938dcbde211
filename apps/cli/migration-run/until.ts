import { setTimeout as delay } from 'node:timers/promises';

/** Waits until something is so. Rejects after `ms` milliseconds, saying for what it waited. */
export async function until(
  what: string,
  is: () => boolean | Promise<boolean>,
  { ms, signal }: { readonly ms: number; readonly signal: AbortSignal },
): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await is())) {
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${ms / 1000} s.`);
    await delay(200, undefined, { signal });
  }
}
