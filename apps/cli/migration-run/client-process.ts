/**
 * The user of a run, a process of its own: asks for pictures at a steady rate, in turn of each endpoint, and keeps its own account of
 * what it got. `node client-process.ts <rate per second> <seed> <endpoint> …`; ends when it was told to stop and has its answers.
 */
import process from 'node:process';
import { createInterface } from 'node:readline';

import { type Answer, type Ledger, say, toClient } from './protocol.ts';

/** Milliseconds that the last answers may take. */
const PATIENCE_MS = 300_000;

/** Things asked for that have no answer yet; the client waits before it asks for more. */
const MAXIMUM_OPEN = 40;

const [, , rateText = '1', seedText = '1', ...endpoints] = process.argv;
const intervalMs = 1_000 / Number(rateText);
const answers = new Map<number, Answer[]>();
let isStopped = false;
let asked = 0;
let timer: NodeJS.Timeout | undefined;

function open(): number {
  return asked - answers.size;
}

/** Not later than it would be without delays: a slow answer must not make the load less. */
function schedule(at: number): void {
  timer = setTimeout(
    () => {
      if (isStopped) return;
      if (open() < MAXIMUM_OPEN) askNext();
      schedule(at + intervalMs);
    },
    Math.max(0, at - performance.now()),
  );
}

function askNext(): void {
  const n = (asked += 1);
  const seed = Number(seedText) * 1_000_000 + n;
  const endpoint = endpoints[n % endpoints.length];
  say({ type: 'ask', n, endpoint, prompt: `a lighthouse, number ${n}`, seed });
}

function ledger(): Ledger {
  const all = [...answers.values()].map(([first]) => first).filter((each) => each !== undefined);
  const numbers = Array.from({ length: asked }, (_, index) => index + 1);
  return {
    type: 'ledger',
    asked,
    succeeded: all.filter(({ status }) => status === 'succeeded').length,
    failed: all.filter(({ status }) => status === 'failed').length,
    unanswered: numbers.filter((n) => !answers.has(n)),
    repeated: numbers.filter((n) => (answers.get(n)?.length ?? 0) > 1),
    empty: all.filter(({ status, bytes }) => status === 'succeeded' && bytes === 0).map(({ n }) => n),
  };
}

function endIfDone(): void {
  if (!isStopped || open() > 0) return;
  say(ledger());
  process.exit(0);
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const heard = toClient.parse(JSON.parse(line));
    if (heard.type === 'answer') answers.set(heard.n, [...(answers.get(heard.n) ?? []), heard]);
    else {
      isStopped = true;
      clearTimeout(timer);
      setTimeout(() => {
        say(ledger());
        process.exit(0);
      }, PATIENCE_MS);
    }
    endIfDone();
  })
  // Whoever started it is gone.
  .on('close', () => process.exit(1));
schedule(performance.now());
