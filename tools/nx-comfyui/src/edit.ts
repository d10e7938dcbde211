/** `nx run <endpoint>:edit [--no-browser] [--port 8188] [--idle-minutes 15]`: ComfyUI's own page, until Ctrl-C. */
import { spawn } from 'node:child_process';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { readLocalClouds } from '@ryla/business/local-clouds';
import { z } from 'zod';

import { runProgram, LOCAL_CLOUDS_ROOT } from './command-line.ts';
import { startEditSession, waitForComfyUI } from './edit-session.ts';
import { type LoopbackProxy, type ProxyTarget, startLoopbackProxy } from './loopback-proxy.ts';
import { type ModalOperation, onlyOnModal, type Operation, readOperation } from './operation.ts';

const HELP = `npx nx run <endpoint>:edit [options]

ComfyUI's own page in a container with the endpoint's image, GPU and volumes. It is billed until you stop it with Ctrl-C,
or until nobody has used the page for a while. Workflows that you save in it are kept on the volume ryla-edit.

  --no-browser         prints the address and opens nothing
  --port N             port on this machine (8188; 0 takes a free one)
  --idle-minutes N     stops by itself when the page was not used for so long and no job runs (15)
  --target cloud       on Modal, with MODAL_PROXY_KEY and MODAL_PROXY_SECRET; without it on the local clouds`;

/** Seconds that the container outlives its last connection, should this program be gone. */
const CONTAINER_IDLE_SECONDS = 120;
const IDLE_LOOK_MS = 1_000;

/** ComfyUI's `GET /prompt`. */
const promptState = z.object({ exec_info: z.object({ queue_remaining: z.number() }) });

interface EditOptions {
  readonly browser: boolean;
  readonly port: number;
  readonly idleMinutes: number;
}

await runProgram(async () => {
  if (process.argv.includes('--help')) {
    console.log(HELP);
    return;
  }
  const operation = onlyOnModal(readOperation(process.argv.slice(2)), 'edit');
  await edit(operation, readOptions(operation.rest));
});

async function edit(operation: ModalOperation, options: EditOptions): Promise<void> {
  const credentials = proxyCredentials(operation);
  console.log(`Target: ${operation.description}\nEndpoint: ${operation.endpoint}`);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort());
  const env = {
    ...operation.variables,
    RYLA_ENDPOINT: operation.endpoint,
    RYLA_EDIT_IDLE_SECONDS: String(CONTAINER_IDLE_SECONDS),
  };
  await using session = await startEditSession(env, (line) => console.error(line), stop.signal);
  const target = { url: reachable(operation, session.url), headers: credentials };
  console.log('Starting ComfyUI…');
  try {
    await waitForComfyUI(target.url, credentials, stop.signal);
    await using proxy = await startLoopbackProxy(target, options.port);
    console.log(`Editing: ${proxy.url}\nCtrl-C stops it.`);
    if (options.browser) openBrowser(proxy.url);
    const why = await Promise.race([
      session.ended.then(() => 'the app ended'),
      idle(proxy, target, options.idleMinutes * 60_000, stop.signal),
    ]);
    console.log(`Stopping: ${why}.`);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    console.log('Stopping.');
  }
}

/** Settles when the page was not used for a while and no job ran either, or with the signal; says why. */
async function idle(
  proxy: LoopbackProxy,
  target: ProxyTarget,
  limitMs: number,
  signal: AbortSignal,
): Promise<string> {
  let busyAt = Date.now();
  while (await paused(signal)) {
    if (Math.min(proxy.idleMs(), Date.now() - busyAt) < limitMs) continue;
    if (!(await isBusy(target))) return `the page was not used for ${String(limitMs / 60_000)} minutes`;
    busyAt = Date.now();
  }
  return 'you asked for it';
}

/** Waits a moment; false when the signal has fired. */
function paused(signal: AbortSignal): Promise<boolean> {
  return sleep(IDLE_LOOK_MS, true, { signal }).catch(() => false);
}

/** Whether ComfyUI has jobs. */
async function isBusy({ url, headers }: ProxyTarget): Promise<boolean> {
  const response = await fetch(`${url}/prompt`, { headers, signal: AbortSignal.timeout(30_000) });
  return promptState.parse(await response.json()).exec_info.queue_remaining > 0;
}

function readOptions(args: readonly string[]): EditOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      'no-browser': { type: 'boolean', default: false },
      port: { type: 'string', default: '8188' },
      'idle-minutes': { type: 'string', default: '15' },
    },
  });
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new Error('--port is a number from 0 to 65535.');
  const idleMinutes = Number(values['idle-minutes']);
  if (!(idleMinutes > 0 && idleMinutes <= 1440)) throw new Error('--idle-minutes is a number up to 1440.');
  return { browser: !values['no-browser'], port, idleMinutes };
}

function proxyCredentials({ target }: Operation): Record<string, string> {
  if (target === 'local') {
    const { proxyKey, proxySecret } = readLocalClouds(LOCAL_CLOUDS_ROOT).modal;
    return { 'modal-key': proxyKey, 'modal-secret': proxySecret };
  }
  const { MODAL_PROXY_KEY: key = '', MODAL_PROXY_SECRET: secret = '' } = process.env;
  if (key === '' || secret === '') {
    throw new Error(
      'Set MODAL_PROXY_KEY and MODAL_PROXY_SECRET to the halves of a proxy auth token, made in Modal’s settings.',
    );
  }
  return { 'modal-key': key, 'modal-secret': secret };
}

/** Local web functions are reached by path: not every machine resolves names below `localhost`. */
function reachable({ target }: Operation, url: string): string {
  if (target === 'cloud') return url;
  const [label] = new URL(url).hostname.split('.');
  return new URL(`/_w/${label ?? ''}`, readLocalClouds(LOCAL_CLOUDS_ROOT).modal.webUrl).href;
}

/** A browser that cannot be opened is no error: the address is printed. */
function openBrowser(url: string): void {
  const opener = { darwin: 'open', win32: 'explorer' }[process.platform as string] ?? 'xdg-open';
  spawn(opener, [url], { stdio: 'ignore', detached: true })
    .on('error', () => undefined)
    .unref();
}
