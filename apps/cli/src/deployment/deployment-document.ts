/** What `ryla deploy` and `ryla drift` say with `--json`. */
import type { Provider, Target } from '@ryla/business/config';

/**
 * What a deploy would do. `adopt`: nothing, as what is live was made by somebody else, until `ryla adopt` takes it over. `unknown`: it
 * could not be found out; `reasons` say why.
 */
export type Action = 'create' | 'update' | 'unchanged' | 'undeploy' | 'adopt' | 'unknown';

/** Why an endpoint is deployed: a file that differs, or something else in words. */
export type Reason =
  { readonly file: string; readonly why: string } | { readonly input: string; readonly why: string };

/** One endpoint of a plan. */
export interface PlanEntry {
  readonly endpoint: string;
  readonly provider: Provider;
  /** Environment that is deployed to; `main` is the default one. */
  readonly environment: string;
  readonly action: Action;
  /** Of the repository; null for an endpoint that is not in it any more. */
  readonly fingerprint: string | null;
  /** Of what is live; null where nothing is, or nothing that says so. */
  readonly liveFingerprint: string | null;
  readonly liveCommit: string | null;
  readonly liveVersion: string | null;
  readonly reasons: readonly Reason[];
}

/** How an endpoint of a deploy ended. */
export type Result = 'deployed' | 'unchanged' | 'rolled_back' | 'failed' | 'undeployed' | 'refused';

/** A job that a deployment was tried with. Times in milliseconds. */
export interface SmokeReport {
  readonly status: 'succeeded' | 'failed' | 'skipped';
  readonly jobId: string | null;
  readonly ms: number;
}

/** One endpoint of a deploy. */
export interface DeployEntry extends PlanEntry {
  readonly result: Result;
  readonly version: string | null;
  readonly url: string | null;
  readonly smoke: SmokeReport;
  /** What went wrong, and what to do. */
  readonly error?: string;
  readonly ms: number;
}

/** Where and between which commits. */
export interface Scope {
  readonly target: Target;
  readonly provider: Provider;
  readonly environment: string;
  readonly base: string | null;
  readonly head: string | null;
}

/** A whole plan, or a whole deploy. */
export interface DeploymentDocument<Entry extends PlanEntry = PlanEntry> extends Scope {
  readonly endpoints: readonly Entry[];
  /** Number of endpoints by action or result. */
  readonly summary: Readonly<Record<string, number>>;
}

/** Whether an entry has been through a deploy. */
export function isDeployed(entry: PlanEntry): entry is DeployEntry {
  return 'result' in entry;
}

/** A document with its summary. */
export function documentOf<Entry extends PlanEntry>(
  scope: Scope,
  endpoints: readonly Entry[],
): DeploymentDocument<Entry> {
  const summary: Record<string, number> = {};
  for (const entry of endpoints) {
    const kind = isDeployed(entry) ? entry.result : entry.action;
    summary[kind] = (summary[kind] ?? 0) + 1;
  }
  return { ...scope, endpoints, summary };
}
