/** `nx run <endpoint>:logs`: `modal app logs`, which knows the options; on RunPod what active workers print. */
import process from 'node:process';

import { runProgram } from './command-line.ts';
import { runModal } from './modal-command.ts';
import { configOf, onModal, type Operation, readOperation } from './operation.ts';
import { managementOf, runpodAccount } from './runpod-account.ts';
import { requireRunPodEndpoint } from './runpod-endpoint.ts';
import { followLines, logText, pastLines, readLogsOptions } from './runpod-logs.ts';

const HELP = `npx nx run <endpoint>:logs --provider runpod [options]

What the endpoint's active workers print. RunPod's API gives no logs of workers that have ended: its console has those of the
last 90 days, and nothing of a worker that ended before it was ready.

  --follow, -f              waits for new lines and new workers, until Ctrl-C
  --tail N                  lines of each worker (100; at most 5000)
  --since 1h                or a time in ISO 8601; in place of --tail
  --source container|system what the worker prints, or what the machine says of it; both without it
  --worker ID               one worker
  --search TEXT             only lines with this text
  --timestamps              each line's time
  --environment NAME        marker of the environment; main without it
  --target local|cloud      the local RunPod (default), or the real one`;

await runProgram(async () => {
  const operation = readOperation(process.argv.slice(2));
  if (operation.provider === 'runpod') await runpodLogs(operation);
  else {
    const { app, description, variables, rest } = onModal(operation);
    if (!rest.includes('--help')) console.error(`Target: ${description}`);
    process.exitCode = await runModal(['app', 'logs', app, ...rest], variables);
  }
});

async function runpodLogs(operation: Operation): Promise<void> {
  if (operation.rest.includes('--help')) {
    console.log(HELP);
    return;
  }
  const options = readLogsOptions(operation.rest);
  const account = runpodAccount(operation.target, operation.environment, process.env);
  console.error(`Target: ${account.description}`);
  await using client = managementOf(account);
  const { live } = await requireRunPodEndpoint(client, configOf(operation), account);
  const { workers } = await client.listWorkers(live.id);
  const wanted = workers
    .map(({ id }) => id)
    .filter((id) => options.worker === undefined || options.worker === id);
  console.error(
    `${live.name} (${live.id}): ${String(wanted.length)} active worker${wanted.length === 1 ? '' : 's'}. ` +
      `Logs of workers that have ended: ${account.console}.`,
  );
  if (options.follow) {
    const stop = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
    await followLines(client, live.id, options, stop.signal, (line) => console.log(logText(line, options)));
  } else {
    if (options.worker !== undefined && wanted.length === 0)
      throw new Error(`${options.worker} is not an active worker of ${live.name}.`);
    for (const line of await pastLines(client, live.id, wanted, options)) console.log(logText(line, options));
  }
}
