/** `ryla undeploy`. */
import process from 'node:process';
import { createInterface } from 'node:readline/promises';

import { UsageError } from '../exit-codes.ts';
import type { Output } from '../output.ts';
import type { Cloud } from './cloud.ts';
import type { UndeployOptions } from './command-options.ts';
import { cloudOf, inEnvironment } from './deployment-place.ts';

/** Removes what is live of endpoints, each after a question. */
export function undeploy(names: readonly string[], options: UndeployOptions): Promise<void> {
  const stranger = options.confirm.find((name) => !names.includes(name));
  if (stranger !== undefined) throw new UsageError(`--confirm ${stranger} is none of ${names.join(', ')}.`);
  return inEnvironment(options, async (workspace, output) => {
    await using cloud = cloudOf(workspace, { ...options, smoke: false });
    await removeAll(names, options.confirm, cloud, workspace.endpointNames(), output);
  });
}

/**
 * Removes what is live, one after the other; what is not live is said and left out.
 *
 * @param known endpoints of the repository: they are ours even where they were deployed by hand.
 * @throws {UsageError} `not_managed` for what ryla neither deployed nor knows, `not_confirmed` where the question was not answered
 *   with the name. Nothing is removed then.
 */
export async function removeAll(
  names: readonly string[],
  confirmed: readonly string[],
  cloud: Cloud,
  known: readonly string[],
  output: Output,
): Promise<void> {
  const live: string[] = [];
  for (const name of new Set(names)) {
    const deployed = await cloud.live(name);
    if (deployed === null)
      output.note(`${name} is not deployed on ${cloud.provider} (${cloud.environment}).`);
    else if (deployed.fingerprint === null && !known.includes(name))
      throw new UsageError(
        `What is live as ${name} on ${cloud.provider} (${cloud.environment}) was not deployed by ryla, and the repository has no ` +
          `endpoint ${name}: it is left alone. Nothing was removed.`,
        'not_managed',
      );
    else live.push(name);
  }
  for (const name of live) if (!confirmed.includes(name)) await confirm(name, cloud);
  for (const name of live) await cloud.remove(name, {});
  output.result(
    { environment: cloud.environment, provider: cloud.provider, undeployed: live },
    live.length === 0 ? 'Nothing was live.' : `Undeployed: ${live.join(', ')}`,
  );
}

async function confirm(name: string, cloud: Cloud): Promise<void> {
  if (!process.stdin.isTTY)
    throw new UsageError(`Without a terminal to ask on, repeat the name: --confirm ${name}`, 'not_confirmed');
  const question = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await question.question(
      `This ends ${name} on ${cloud.provider} (${cloud.environment}) and all of its jobs. Its name, to confirm: `,
    );
    if (answer.trim() !== name)
      throw new UsageError(`"${answer}" is not ${name}: nothing was done.`, 'not_confirmed');
  } finally {
    question.close();
  }
}
