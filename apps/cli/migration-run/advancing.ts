/** Takes an endpoint from stage to stage as a person would: again and again until the gates let it. */
import { setTimeout as delay } from 'node:timers/promises';

import { type Stage, STAGES } from '@ryla/migration';

import type { Commands } from './commands.ts';
import type { Timeline } from './timeline.ts';

/** What `advance` refused with. */
export interface Refused {
  readonly endpoint: string;
  readonly stage: Stage;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly reasons: readonly string[];
}

/** Milliseconds between two tries. */
const TRY_MS = 8_000;

/** Milliseconds that a stage may take: far more than it needs, for a slow machine. */
const PATIENCE_MS = 20 * 60 * 1_000;

const REFUSED = 3;

/** What {@link advanceTo} needs. */
export interface Advancing {
  readonly commands: Commands;
  readonly timeline: Timeline;
  /** Every refusal is added here. */
  readonly refusals: Refused[];
  readonly signal: AbortSignal;
}

/** Goes to a stage, through all before it, each when its gates pass; changes the migration file as it goes. */
export async function advanceTo(
  advancing: Advancing,
  endpoint: string,
  to: Stage,
  from: Stage,
): Promise<void> {
  const { timeline, signal } = advancing;
  let stage = from;
  let since = Date.now();
  while (stage !== to) {
    const reasons = await tryNext(advancing, endpoint, stage, `to ${to}`);
    if (reasons === undefined) {
      stage = nextOf(stage);
      since = Date.now();
      timeline.note(endpoint, `→ ${stage}`);
    } else if (Date.now() - since > PATIENCE_MS) {
      throw new Error(`${endpoint} does not leave ${stage}:\n${reasons.join('\n')}`);
    } else {
      await delay(TRY_MS, undefined, { signal });
    }
  }
}

/** Types `advance` once. Returns why it was refused; undefined when it was not. */
export async function tryNext(
  { commands, timeline, refusals }: Advancing,
  endpoint: string,
  stage: Stage,
  reason: string,
): Promise<readonly string[] | undefined> {
  const typed = await commands.ryla(
    ['migrate', 'advance', endpoint, '--write', '--by', 'ada', '--reason', reason],
    [0, REFUSED],
  );
  if (typed.code === 0) return undefined;
  const reasons = typed.stdout.split('\n').filter((line) => line.startsWith('- '));
  // Said once for each time that a stage is entered.
  if (refusals.findLast((each) => each.endpoint === endpoint)?.stage !== stage)
    timeline.note(endpoint, `${stage}: refused. ${shortened(reasons)}`);
  refusals.push({ endpoint, stage, at: typed.at, reasons });
  return reasons;
}

/** The first number that misses; that the file permits no more is always so. */
function shortened(reasons: readonly string[]): string {
  const [first = '', ...others] = reasons.filter((reason) => !reason.includes(' and no more; '));
  return `${first.replace(/^- /, '')}${others.length === 0 ? '' : ` (and ${others.length} more)`}`;
}

function nextOf(stage: Stage): Stage {
  const next = STAGES[STAGES.indexOf(stage) + 1];
  if (next === undefined) throw new Error(`There is nothing after ${stage}.`);
  return next;
}
