/** The service of a workspace with a migration. Loaded only where there is one: the stages and their gates take a while. */
import type { ConfiguredService, ResolvedConfig } from '@ryla/business/config';
import type { CompareResults } from '@ryla/migration';
import { createStagedService } from '@ryla/migration/service';
import type { EndpointConfig } from '@ryla/workflow';

import type { Workspace } from '../workspace.ts';

/** Milliseconds that the end of a command waits for shadow jobs to be handed over. */
const HAND_OVER_MS = 5_000;

/** Options of {@link openStagedService}. */
export interface StagedOptions {
  /** Whether a sampled share of the jobs also runs on the other side; the comparisons of this workspace judge them. */
  readonly shadowsOf?: Workspace | undefined;
  /** Hears of what went wrong beside the jobs. */
  readonly onProblem?: ((error: unknown) => void) | undefined;
}

/**
 * Opens it. Shadow jobs of a command outlive it: closing waits until they are handed over, and whichever process is next on the same job
 * store settles and judges them.
 */
export async function openStagedService(
  resolved: ResolvedConfig,
  endpoints: readonly EndpointConfig[],
  { shadowsOf, onProblem }: StagedOptions,
): Promise<ConfiguredService> {
  const opened = await createStagedService(resolved, endpoints, {
    ...(onProblem === undefined ? {} : { onProblem }),
    ...(shadowsOf === undefined ? {} : { shadow: { compare: judgedByComparisons(shadowsOf) } }),
  });
  const { service } = opened;
  const close = async (): Promise<void> => {
    await opened.shadowsHandedOver(HAND_OVER_MS);
    await service.close();
  };
  return { ...opened, service: { ...service, close, [Symbol.asyncDispose]: close } };
}

/** What decodes and compares pictures is loaded when the first pair is there. */
function judgedByComparisons(workspace: Workspace): CompareResults {
  return async (...pair) => {
    const { judgeByComparisons } = await import('./judge-by-comparisons.ts');
    return await judgeByComparisons(workspace, ...pair);
  };
}
