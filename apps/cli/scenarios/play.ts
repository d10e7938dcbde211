import type { WorkspaceOrigin } from '../test-support/workspace-clone.ts';
import type { LocalAccount } from './local-account.ts';
import type { Scenario } from './scenarios.ts';
import { type Deploy, Story } from './story.ts';

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
  const seconds = (): number => (performance.now() - begun) / 1000;
  try {
    await account.environment(environment);
    const story = new Story(origin, account, environment, await origin.clone());
    return { done: await scenario.play(story), seconds: seconds() };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error), seconds: seconds() };
  }
}
