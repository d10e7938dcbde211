import type { WorkspaceOrigin } from '../test-support/workspace-clone.ts';
import type { LocalAccount } from './local-account.ts';
import type { Scenario } from './scenarios.ts';
import { type Deploy, Story } from './story.ts';

/** Longest that a scenario may take: a slow machine with other work takes a tenth of it. */
const LIMIT_MS = 30 * 60_000;

/** How a scenario ended; `error` where something else was deployed than must be. */
export interface Played {
  readonly done?: Deploy;
  readonly error?: string;
  readonly seconds: number;
}

/** Plays a scenario in a clone and an environment of its own. */
export async function playScenario(
  scenario: Scenario,
  origin: WorkspaceOrigin,
  account: LocalAccount,
  environment: string,
): Promise<Played> {
  const begun = performance.now();
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`It did not end within ${LIMIT_MS / 60_000} minutes.`)),
    LIMIT_MS,
  );
  const seconds = (): number => (performance.now() - begun) / 1000;
  try {
    await account.environment(environment);
    const story = new Story(origin, account, environment, await origin.clone());
    return { done: await Promise.race([scenario.play(story), late.promise]), seconds: seconds() };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error), seconds: seconds() };
  } finally {
    clearTimeout(timer);
    await origin.removeClones();
  }
}
