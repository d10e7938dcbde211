/** Where an endpoint stands, for people and for machines. */
import type { Finding, MigrationStatus, ModelsVerified, NamedGateResult } from '@ryla/migration';

import { dollars, table } from '../output.ts';

/** A status with the jobs that the store has. */
export interface Counted {
  readonly status: MigrationStatus;
  readonly backends: { readonly old: string; readonly new: string };
  /** That the models are on the new side; told before `models_verified`, and undefined where nobody has verified them. */
  readonly verified: ModelsVerified | undefined;
  readonly jobs: { readonly old: number; readonly new: number; readonly shadow: number };
}

/** For machines. Infinite bounds are null. */
export function statusDocument({
  status,
  backends,
  verified,
  jobs,
}: Counted): Readonly<Record<string, unknown>> {
  const { state, gates, ...rest } = status;
  return {
    ...rest,
    stored: state.stage,
    since: state.since === 0 ? null : new Date(state.since).toISOString(),
    hold: state.hold,
    history: state.history,
    backends,
    modelsVerified: verified ?? null,
    jobs,
    gates: gates.map(({ interval, ...gate }) => ({
      ...gate,
      interval: { lower: interval.lower, upper: Number.isFinite(interval.upper) ? interval.upper : null },
    })),
  };
}

/** For people. */
export function statusText({ status, backends, verified, jobs }: Counted, judge: string): string {
  const { endpoint, state, effective, permitted, next, gates, blockers, alarms, shadow } = status;
  const last = state.history.at(-1);
  const stored = state.stage === effective ? '' : `, stored ${state.stage}`;
  return [
    `${endpoint}: ${effective} (permitted ${permitted}${stored})`,
    ...(last === undefined ? [] : [`  since ${moment(last.at)} by ${last.by}: ${last.reason}`]),
    ...(state.hold === null
      ? []
      : [`  held since ${moment(state.hold.at)} by ${state.hold.by}: ${state.hold.reason}`]),
    ...(effective === 'off' ? [`  models: ${verifiedText(verified)}`] : []),
    `  jobs: ${jobs.old} on ${backends.old}, ${jobs.new} on ${backends.new}; ${jobs.shadow} of them shadow jobs`,
    `  shadow jobs today: ${shadow.jobs}, ${dollars(shadow.usd)} of ${dollars(shadow.usdPerDay)}`,
    `  automatic rollback: ${judge}`,
    ...(gates.length === 0 ? [] : [indented(gateTable(gates))]),
    ...(alarms.length === 0 ? [] : ['  To be rolled back:', indented(findingLines(alarms).join('\n'))]),
    ...(next === undefined
      ? ['  The migration is complete: `ryla migrate finish` switches RunPod off.']
      : blockers.length === 0
        ? [`  Nothing stands before ${next}: ryla migrate advance ${endpoint}`]
        : [`  Before ${next}:`, indented(blockerLines(blockers).join('\n'))]),
  ].join('\n');
}

function verifiedText(verified: ModelsVerified | undefined): string {
  if (verified === undefined)
    return 'not verified; `ryla migrate volume` copies and verifies them, or `advance --models-verified` says so';
  return `${verified.files} files of ${verified.source} verified ${moment(verified.at)}`;
}

/** The gates stand in the table already. */
function blockerLines(blockers: readonly Finding[]): readonly string[] {
  const gates = blockers.flatMap(({ gate }) => gate ?? []);
  return [
    ...(gates.length === 0 ? [] : [`- gates: ${gates.join(', ')}`]),
    ...findingLines(blockers.filter(({ gate }) => gate === undefined)),
  ];
}

/** A line for each finding. */
export function findingLines(findings: readonly Finding[]): readonly string[] {
  return findings.map(({ message }) => `- ${message}`);
}

/** Gates with their numbers. */
export function gateTable(gates: readonly NamedGateResult[]): string {
  return table(
    ['gate', 'new', 'old', 'surely between', 'must be below', 'jobs', 'needed', ''],
    gates.map(({ gate, current, baseline, interval, lines, available, needed, state }) => [
      gate,
      number(current),
      number(baseline),
      `${number(interval.lower)} and ${number(interval.upper)}`,
      number(lines.advanceBelow),
      String(available),
      needed === undefined ? '' : String(needed),
      state,
    ]),
  );
}

function number(value: number | undefined): string {
  if (value === undefined) return '–';
  return Number.isFinite(value) ? String(Number(value.toPrecision(3))) : '∞';
}

function moment(at: number): string {
  return `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, '    ');
}
