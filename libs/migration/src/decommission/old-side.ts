/** What stands, or stood, on RunPod for an endpoint of the workspace. */
import type { RunPodEndpoint, RunPodTemplate } from '@ryla/runpod-management';

import type { AccountResources } from './account-resources.ts';

/** An endpoint on RunPod with what was made for it. */
export interface OldSide {
  /** Name in the workspace. */
  readonly endpoint: string;
  readonly runpodId: string;
  /** Name on RunPod. */
  readonly name: string;
  readonly templateIds: readonly string[];
  readonly volumeIds: readonly string[];
}

/**
 * Reads it off a live endpoint. RunPod copies a template into an endpoint and does not tell from which: one that endpoint.json names,
 * or that has the same image and variables, is taken for it.
 */
export function oldSideOf(
  endpoint: string,
  live: RunPodEndpoint,
  { templates = [] }: Pick<AccountResources, 'templates'>,
  named: readonly string[],
): OldSide {
  const own = templates.filter(
    (template) => template.serverless && (named.includes(template.id) || isLike(template, live)),
  );
  return {
    endpoint,
    runpodId: live.id,
    name: live.name,
    templateIds: own.map(({ id }) => id),
    volumeIds: live.networkVolumes,
  };
}

/** Whether an endpoint may be made from a template: same image, same variables. */
export function isLike(
  template: Pick<RunPodTemplate, 'image' | 'env'>,
  endpoint: Pick<RunPodEndpoint, 'image' | 'env'>,
): boolean {
  const theirs = endpoint.env?.reveal() ?? {};
  const own = template.env.reveal();
  const names = Object.keys(own);
  return (
    template.image === endpoint.image &&
    names.length === Object.keys(theirs).length &&
    names.every((name) => own[name] === theirs[name])
  );
}
