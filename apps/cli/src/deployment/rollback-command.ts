/** `ryla rollback`. */
import { UsageError } from '../exit-codes.ts';
import type { RollbackOptions } from './command-options.ts';
import { cloudOf, inEnvironment } from './deployment-place.ts';
import { BEFORE_ADOPTION } from './runpod-cloud.ts';

/** Makes an earlier version live again. */
export function rollback(name: string, options: RollbackOptions): Promise<void> {
  const { to } = options;
  if (to !== undefined && to !== BEFORE_ADOPTION && !/^v[1-9]\d*$/.test(to))
    throw new UsageError(`--to is a version such as v3, or ${BEFORE_ADOPTION} on RunPod, not "${to}".`);
  if (to === BEFORE_ADOPTION && options.provider !== 'runpod')
    throw new UsageError(`--to ${BEFORE_ADOPTION} belongs to --provider runpod.`);
  return inEnvironment(options, async (workspace, output) => {
    await using cloud = cloudOf(workspace, { ...options, smoke: false });
    const before = await cloud.live(name);
    const live = await cloud.rollBack(name, to, {});
    output.result(
      { endpoint: name, provider: cloud.provider, environment: cloud.environment, before, live },
      to === BEFORE_ADOPTION
        ? `${name}: ${live.version ?? 'unknown'} is live, with the settings and variables of before it was adopted. Ryla does not manage it any more.`
        : `${name}: ${live.version ?? 'unknown'} is live, with the fingerprint ${live.fingerprint ?? 'unknown'}` +
            `${live.commit === null ? '' : ` of commit ${live.commit}`}.\n` +
            `\`ryla drift\` shows the difference from the repository until the next deploy of ${name}.`,
    );
  });
}
