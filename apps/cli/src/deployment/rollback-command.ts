/** `ryla rollback`. */
import { UsageError } from '../exit-codes.ts';
import type { RollbackOptions } from './command-options.ts';
import { cloudOf, inEnvironment } from './deployment-place.ts';

/** Makes an earlier version live again. */
export function rollback(name: string, options: RollbackOptions): Promise<void> {
  if (options.to !== undefined && !/^v[1-9]\d*$/.test(options.to))
    throw new UsageError(`--to is a version such as v3, not "${options.to}".`);
  return inEnvironment(options, async (workspace, output) => {
    await using cloud = cloudOf(workspace, { ...options, smoke: false });
    const before = await cloud.live(name);
    const live = await cloud.rollBack(name, options.to, {});
    output.result(
      { endpoint: name, provider: cloud.provider, environment: cloud.environment, before, live },
      `${name}: ${live.version ?? 'unknown'} is live, with the fingerprint ${live.fingerprint ?? 'unknown'}` +
        `${live.commit === null ? '' : ` of commit ${live.commit}`}.\n` +
        `\`ryla drift\` shows the difference from the repository until the next deploy of ${name}.`,
    );
  });
}
