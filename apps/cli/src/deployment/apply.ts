/** Deploys what a plan says, tries it, and goes back where it fails. One endpoint's failure stops no other. */
import type { Cloud, Deployed, Shipment } from './cloud.ts';
import type { DeployEntry, PlanEntry } from './deployment-document.ts';
import { inParallel } from './in-parallel.ts';
import type { Planned } from './plan.ts';
import { NOT_TRIED, runSmoke, type SmokeResult } from './smoke.ts';

/** Options of {@link applyPlan}. */
export interface DeployOptions {
  readonly allowUndeploy: boolean;
  /** Whether each deployment is tried with its small job. */
  readonly smoke: boolean;
  /** Endpoints that are deployed at once. */
  readonly parallel: number;
  /** Ends it early: what was deployed and not yet tried is undone. */
  readonly signal: AbortSignal;
  /** Hears of every step. */
  readonly onStep: (endpoint: string, text: string) => void;
}

type Outcome = Omit<DeployEntry, keyof PlanEntry | 'ms'>;

const NOTHING = { version: null, url: null, smoke: NOT_TRIED } as const;

/** Applies a plan. Never throws for one endpoint: what went wrong is in its entry. */
export function applyPlan(
  plan: readonly Planned[],
  cloud: Cloud,
  options: DeployOptions,
): Promise<DeployEntry[]> {
  return inParallel(plan, options.parallel, async (planned) => {
    const begun = performance.now();
    const outcome = await applyEntry(planned, cloud, options).catch((error: unknown): Outcome => ({
      ...NOTHING,
      result: 'failed',
      error: messageOf(error),
    }));
    return { ...planned.entry, ...outcome, ms: Math.round(performance.now() - begun) };
  });
}

async function applyEntry(
  { entry, shipment }: Planned,
  cloud: Cloud,
  options: DeployOptions,
): Promise<Outcome> {
  if (entry.action === 'unknown')
    return { ...NOTHING, result: 'failed', error: entry.reasons.map(({ why }) => why).join('\n') };
  if (entry.action === 'adopt') {
    const error = `${entry.reasons[0]?.why ?? ''}. \`ryla adopt ${entry.endpoint}\` shows what differs, and takes it over as it is.`;
    return { ...NOTHING, result: 'refused', error };
  }
  if (entry.action === 'unchanged') return { ...NOTHING, result: 'unchanged', version: entry.liveVersion };
  options.signal.throwIfAborted();
  if (entry.action === 'undeploy') return undeploy(entry, cloud, options);
  if (shipment === undefined) throw new TypeError('a deployment without its endpoint');
  return deploy(entry, shipment, cloud, options);
}

async function undeploy(entry: PlanEntry, cloud: Cloud, options: DeployOptions): Promise<Outcome> {
  if (!options.allowUndeploy) {
    const error = `It is live and not in the repository. --allow-undeploy removes it, as does \`ryla undeploy ${entry.endpoint}\`.`;
    return { ...NOTHING, result: 'refused', error, version: entry.liveVersion };
  }
  options.onStep(entry.endpoint, 'removing');
  await cloud.remove(entry.endpoint, { signal: options.signal });
  return { ...NOTHING, result: 'undeployed' };
}

async function deploy(
  entry: PlanEntry,
  shipment: Shipment,
  cloud: Cloud,
  options: DeployOptions,
): Promise<Outcome> {
  const { signal, onStep } = options;
  const refusal = await cloud.refusal(shipment);
  if (refusal !== undefined)
    return { ...NOTHING, result: 'refused', error: refusal, version: entry.liveVersion };
  // Somebody else may have deployed since the plan was made, such as the workflow of another push.
  const before = await cloud.live(entry.endpoint, { anew: true });
  if ((before?.version ?? null) !== entry.liveVersion) {
    if (before !== null && before.fingerprint === entry.fingerprint)
      return { ...NOTHING, result: 'unchanged', version: before.version };
    const error = `What is live has changed since the plan was made (${entry.liveVersion ?? 'nothing'} to ${before?.version ?? 'nothing'}). Run it again.`;
    return { ...NOTHING, result: 'failed', error, version: before?.version ?? null };
  }
  onStep(entry.endpoint, 'deploying');
  const onLog = (line: string): void => onStep(entry.endpoint, `| ${line}`);
  const deployed = await cloud.deploy(shipment, before, { signal, onLog });
  onStep(entry.endpoint, `deployed ${deployed.version ?? ''}`.trimEnd());
  if (!options.smoke)
    return { result: 'deployed', version: deployed.version, url: deployed.url, smoke: NOT_TRIED };
  onStep(entry.endpoint, 'trying it with its smoke job');
  return tried(
    deployed,
    await runSmoke(shipment.endpoint, deployed.adapter, signal),
    options,
    entry.endpoint,
  );
}

/** The deployment is good, and stays: the next deploy tries it once more. */
const NOT_RECORDED = 'that it was tried could not be recorded: ';

async function tried(
  deployed: Deployed,
  { error: why, ...smoke }: SmokeResult,
  { onStep, signal }: DeployOptions,
  endpoint: string,
): Promise<Outcome> {
  const about = { version: deployed.version, url: deployed.url, smoke };
  if (smoke.status === 'succeeded') {
    await deployed.accept().catch((error: unknown) => onStep(endpoint, NOT_RECORDED + messageOf(error)));
    return { ...about, result: 'deployed' };
  }
  const failure = signal.aborted
    ? 'It was interrupted before it was tried.'
    : `Its smoke job failed: ${why ?? ''}`;
  onStep(endpoint, `${failure} Going back.`);
  try {
    return { ...about, result: 'rolled_back', error: `${failure} (${await deployed.undo()})` };
  } catch (error) {
    return { ...about, result: 'failed', error: `${failure} Going back failed too: ${messageOf(error)}` };
  }
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const hint = 'hint' in error && typeof error.hint === 'string' ? ` ${error.hint}` : '';
  return `${error.message}${hint}`;
}
