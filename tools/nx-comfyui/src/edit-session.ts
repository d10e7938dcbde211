import { spawn } from 'node:child_process';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

import { MODAL, MODAL_FOLDER, type Variables } from './modal-command.ts';

/** Begins the line in which comfyui_edit.py says where its page is. */
const URL_LINE = 'RYLA_EDIT_URL ';

/** Starts `modal run` in the background of a shell that ends. Node closes a child's own standard input at its end. */
const ORPHAN = '"$0" run comfyui_edit.py <&3 & echo RYLA_EDIT_PID $!';
const PID_LINE = 'RYLA_EDIT_PID ';

/** Time for `modal run` to stop the app after its standard input has ended. */
const STOP_MS = 60_000;
/** Time between two looks at whether ComfyUI answers. */
const LOOK_MS = 500;
/** One look; a cold start answers with a redirect after 150 s (contracts: Modal's docs). */
const ANSWER_MS = 160_000;

/** A running app with ComfyUI's page. */
export interface EditSession extends AsyncDisposable {
  /** The page on Modal, which wants the proxy credentials. */
  readonly url: string;
  /** Settles when the app ends by itself. */
  readonly ended: Promise<void>;
}

/**
 * Starts the app of comfyui_edit.py. It lives as long as this process, and ends with it whatever happens:
 * its standard input is a pipe from here.
 *
 * @throws {Error} when it ends before it has a page.
 */
export async function startEditSession(
  env: Variables,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<EditSession> {
  // A group of its own, and no child of this program: a task runner that is interrupted kills its whole tree at once,
  // and the app could not be stopped in order. It ends when its standard input does, so also after this program's death.
  const child = spawn('/bin/sh', ['-c', ORPHAN, MODAL], {
    cwd: MODAL_FOLDER,
    // Task runners set FORCE_COLOR, with which it would draw over the line that is read here.
    env: { ...env, FORCE_COLOR: undefined, NO_COLOR: '1', COLUMNS: '500' },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const [, stdout, stderr, input] = child.stdio;
  if (!(stdout instanceof Readable && stderr instanceof Readable && input instanceof Writable)) {
    throw new Error('Pipes to `modal run` could not be made.');
  }
  // The shell is gone at once; that `modal run` has ended shows in its output, which it alone holds open then.
  const ended = new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('close', () => resolve());
  });
  const lines = new OutputLines(stdout, stderr, say);
  const dispose = (): Promise<void> => stop(input, lines, ended);
  try {
    const url = await pageOf(lines, ended, signal);
    return { url, ended, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** What `modal run` says: two lines for this program, the rest for the user. */
class OutputLines {
  pid: number | undefined;
  readonly url = Promise.withResolvers<string>();

  constructor(stdout: Readable, stderr: Readable, say: (line: string) => void) {
    createInterface({ input: stderr }).on('line', say);
    createInterface({ input: stdout }).on('line', (line) => {
      if (line.startsWith(URL_LINE)) this.url.resolve(line.slice(URL_LINE.length).trim());
      else if (line.startsWith(PID_LINE)) this.pid = Number(line.slice(PID_LINE.length));
      else say(line);
    });
  }
}

async function pageOf(lines: OutputLines, ended: Promise<void>, signal: AbortSignal): Promise<string> {
  const stopped = Promise.withResolvers<never>();
  signal.addEventListener('abort', () => stopped.reject(new Error('Stopped before ComfyUI was there.')));
  const failed = ended.then(() => {
    throw new Error('`modal run comfyui_edit.py` ended without a page; what it said is above.');
  });
  for (const unused of [failed, stopped.promise]) unused.catch(() => undefined);
  return Promise.race([lines.url.promise, failed, stopped.promise]);
}

async function stop(input: Writable, lines: OutputLines, ended: Promise<void>): Promise<void> {
  input.on('error', () => undefined).end();
  for (const signal of ['SIGINT', 'SIGKILL'] as const) {
    const timer = new AbortController();
    const late = sleep(STOP_MS, true, { signal: timer.signal }).catch(() => false);
    const over = await Promise.race([ended.then(() => false), late]);
    timer.abort();
    if (!over) return;
    if (lines.pid !== undefined) process.kill(lines.pid, signal);
  }
  await ended;
}

/**
 * Waits until ComfyUI answers behind a page, which starts its container.
 *
 * @throws {Error} when the container cannot be started, or `signal` fires.
 */
export async function waitForComfyUI(
  url: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  let address = `${url.replace(/\/$/, '')}/system_stats`;
  for (;;) {
    signal.throwIfAborted();
    const timeout = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
    const response = await fetch(address, { headers, redirect: 'manual', signal: timeout });
    await response.body?.cancel();
    if (response.status === 200) return;
    const location = response.headers.get('location');
    if (response.status === 303 && location !== null) address = sameOrigin(location, address);
    else if (response.status < 502 || response.status > 504)
      throw new Error(`ComfyUI's container answered ${String(response.status)}; its log is above.`);
    else await sleep(LOOK_MS, undefined, { signal });
  }
}

/** The credentials go where they were meant to go, and nowhere else. */
function sameOrigin(location: string, from: string): string {
  const to = new URL(location, from);
  if (to.origin !== new URL(from).origin) throw new Error(`Modal leads to another address: ${to.origin}.`);
  return to.href;
}
