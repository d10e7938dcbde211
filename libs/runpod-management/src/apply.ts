/** Makes RunPod as a plan says. Each endpoint is one request, so that a run that broke off is completed by the next. */
import type { CallOptions, RunPodManagement } from './client.ts';
import { differenceOf } from './endpoint-diff.ts';
import { type LiveState, readRunpodEndpoints, readRunpodLive } from './live-state.ts';
import { planEndpoint, type PlanEntry, planRunpodRemoval, type RunPodPlan } from './plan.ts';
import { creationOf, resolveEndpoint } from './resolved-endpoint.ts';
import { RunPodManagementError } from './runpod-error.ts';
import type { RunPodEndpoint } from './schemas.ts';

/** What became of one entry of a plan. */
export interface AppliedEntry {
  /** Name in the repository. */
  readonly endpoint: string;
  /** Id on RunPod; absent when none was made. */
  readonly id?: string;
  /** `skipped`: not tried, because an earlier error concerns every request. */
  readonly outcome: 'created' | 'updated' | 'deleted' | 'unchanged' | 'failed' | 'skipped';
  readonly error?: RunPodManagementError;
  /** The endpoint as it was before an update, for {@link rollBackRunpod}. Prints without values of variables. */
  readonly previous?: RunPodEndpoint;
}

/** What became of a plan. */
export interface ApplyReport {
  /** Whether every entry is now as the plan says. */
  readonly ok: boolean;
  readonly entries: readonly AppliedEntry[];
}

/** Options of {@link applyRunpod}. */
export interface ApplyOptions extends CallOptions {
  /** Called after each entry, in order. */
  readonly onEntry?: (entry: AppliedEntry) => void;
}

/**
 * Applies a plan: reads RunPod again, sends one request for each endpoint that is not yet as it shall be, and checks what came
 * of it. An error of one endpoint does not stop the others and is in the report; running it again, with this plan or a new one,
 * completes what is missing. Nothing is sent for what is equal.
 *
 * @throws {RunPodManagementError} when RunPod cannot be read at the start; the signal's reason when it was aborted.
 */
export async function applyRunpod(
  plan: RunPodPlan,
  client: RunPodManagement,
  options: ApplyOptions = {},
): Promise<ApplyReport> {
  const call = options.signal === undefined ? {} : { signal: options.signal };
  const desired = plan.entries.flatMap((entry) => ('desired' in entry ? [entry.desired] : []));
  const live = await readRunpodLive(client, desired, call);
  const entries: AppliedEntry[] = [];
  let stopped = false;
  for (const entry of plan.entries) {
    const applied: AppliedEntry = stopped
      ? { endpoint: entry.endpoint, outcome: 'skipped' }
      : await applyEntry(entry, { plan, client, live, call });
    stopped ||= applied.error?.code === 'unauthorized' || applied.error?.code === 'forbidden';
    entries.push(applied);
    options.onEntry?.(applied);
  }
  return { entries, ok: entries.every(({ outcome }) => outcome !== 'failed' && outcome !== 'skipped') };
}

interface Application {
  readonly plan: RunPodPlan;
  readonly client: RunPodManagement;
  readonly live: LiveState;
  readonly call: CallOptions;
}

async function applyEntry(entry: PlanEntry, application: Application): Promise<AppliedEntry> {
  try {
    return await changeEndpoint(entry, application);
  } catch (error) {
    if (!RunPodManagementError.isInstance(error)) throw error;
    if (error.accepted !== 'unknown')
      return { endpoint: entry.endpoint, outcome: 'failed', error, ...idOf(entry) };
    return lookUp(entry, application, error);
  }
}

async function changeEndpoint(entry: PlanEntry, application: Application): Promise<AppliedEntry> {
  const { endpoint } = entry;
  const { client, call, live } = application;
  if (entry.action === 'delete') {
    const [now] = planRunpodRemoval(entry, live).entries;
    if (now === undefined) return { endpoint, outcome: 'unchanged' };
    if (now.action !== 'delete' || now.id !== entry.id) throw stale(endpoint);
    await client.deleteEndpoint(entry.id, call).catch((error: unknown) => {
      if (!(RunPodManagementError.isInstance(error) && error.code === 'not_found')) throw error;
    });
    return { endpoint, outcome: 'deleted', id: entry.id };
  }
  const now = currentEntry(entry, application);
  if (now.action === 'none') return { endpoint, outcome: 'unchanged', id: now.id };
  checkStillTrue(entry, now);
  const wanted = resolveEndpoint(entry.desired, live);
  if (now.action === 'create') {
    const made = await client.createEndpoint(creationOf(wanted), call);
    checkMade(entry, made, live);
    return { endpoint, outcome: 'created', id: made.id };
  }
  const previous = live.endpoints.find(({ id }) => id === now.id);
  if (previous === undefined) throw new TypeError('an update without its endpoint');
  const made = await client.updateEndpoint(now.id, differenceOf(wanted, previous).update, call);
  checkMade(entry, made, live);
  return { endpoint, outcome: 'updated', id: now.id, previous };
}

type Deployed = Exclude<PlanEntry, { readonly action: 'delete' }>;

/** The entry as it would be planned now: the plan may be of yesterday, or half applied. */
function currentEntry(entry: Deployed, { plan, live }: Application): Deployed {
  const now = planEndpoint(entry.desired, live, plan.adopt.includes(entry.endpoint));
  if (now.action === 'delete') throw new TypeError('a deployment cannot become a deletion');
  return now;
}

/** Only what was planned, and perhaps shown to somebody, is done. */
function checkStillTrue(planned: Deployed, now: Deployed): void {
  const before = planned.action === 'none' ? [] : planned.changes;
  const after = now.action === 'none' ? [] : now.changes;
  const known = new Set(before.map((change) => JSON.stringify(change)));
  const more = after.filter((change) => !known.has(JSON.stringify(change)));
  if (planned.action === now.action && more.length === 0) return;
  throw stale(planned.endpoint, more.map(({ field, from, to }) => `${field}: ${from} → ${to}`).join(', '));
}

function stale(endpoint: string, words = ''): RunPodManagementError {
  return new RunPodManagementError(
    'plan_stale',
    `RunPod has changed since ${endpoint} was planned${words === '' ? '' : ` (${words})`}.`,
    { endpoint, accepted: 'no', hint: 'Plan again, and look at what is different.' },
  );
}

function checkMade(entry: Deployed, made: RunPodEndpoint, live: LiveState): void {
  const { changes } = differenceOf(resolveEndpoint(entry.desired, live), made);
  if (changes.length === 0) return;
  const list = changes.map(({ field, from, to }) => `${field} is ${from}, not ${to}`).join('; ');
  throw new RunPodManagementError(
    'not_applied',
    `RunPod took the request for ${entry.endpoint} (${made.id}), but not all of it: ${list}.`,
    { endpoint: entry.endpoint, hint: "The account's limits, or RunPod's console, may say why." },
  );
}

/** An answer was lost: whether the request was done is looked up, and never answered by sending it again. */
async function lookUp(
  entry: PlanEntry,
  application: Application,
  error: RunPodManagementError,
): Promise<AppliedEntry> {
  const { endpoint } = entry;
  try {
    const endpoints = await readRunpodEndpoints(application.client, application.call);
    const live = { ...application.live, endpoints };
    if (entry.action === 'delete') {
      if (planRunpodRemoval(entry, live).entries.length === 0)
        return { endpoint, outcome: 'deleted', id: entry.id };
    } else {
      const now = currentEntry(entry, { ...application, live });
      if (now.action === 'none') return settled(entry, now.id, application.live);
    }
  } catch (cause) {
    if (!RunPodManagementError.isInstance(cause)) throw cause;
  }
  return { endpoint, outcome: 'failed', error, ...idOf(entry) };
}

function settled({ endpoint, action }: Deployed, id: string, before: LiveState): AppliedEntry {
  const previous = before.endpoints.find((one) => one.id === id);
  if (action === 'create' || previous === undefined) return { endpoint, outcome: 'created', id };
  return { endpoint, outcome: 'updated', id, previous };
}

function idOf(entry: PlanEntry): { readonly id?: string } {
  return 'id' in entry ? { id: entry.id } : {};
}
