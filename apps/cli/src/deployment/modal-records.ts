/** What Modal says of its apps, through one process of the real client: see apps/modal/deployment_records.py. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { ComfyUIServiceError } from '@ryla/business';
import { z } from 'zod';

import type { Variables } from './modal-cli.ts';

const apps = z.array(z.object({ id: z.string(), name: z.string() }));
const history = z.array(
  z.object({ version: z.string(), commit: z.string().nullable(), tag: z.string().nullable() }),
);
const untried = z.record(z.string(), z.string());
const answer = z.object({ id: z.number(), value: z.unknown().optional(), error: z.string().optional() });

/** An app that is deployed. */
export type ModalApp = z.infer<typeof apps>[number];

/** A version of an app. */
export type ModalVersion = z.infer<typeof history>[number];

/** Questions about one account and environment. Each rejects with what Modal said. */
export interface ModalRecords extends AsyncDisposable {
  /** Apps that are deployed now. */
  apps(): Promise<ModalApp[]>;
  /** Versions of an app, newest first: the first is live. Empty where there is no app of this name. */
  history(app: { readonly app: string } | { readonly name: string }): Promise<ModalVersion[]>;
  /** Fingerprints of deployments that nobody has tried yet, by endpoint. */
  untried(): Promise<Readonly<Record<string, string>>>;
  /** Says that an endpoint's next deployment is untried. */
  mark(endpoint: string, fingerprint: string): Promise<void>;
  /** Takes that back. */
  unmark(endpoint: string): Promise<void>;
}

/** Starts the process at once, since it takes a while. */
export function startModalRecords(root: string, variables: Variables): ModalRecords {
  const program = path.join(root, '.venv/bin/python');
  if (!existsSync(program))
    throw new ComfyUIServiceError('invalid_configuration', `There is no ${program}.`, {
      hint: 'Make the Python environment: npm run setup',
    });
  const child = spawn(program, ['deployment_records.py'], {
    cwd: path.join(root, 'apps/modal'),
    env: { ...variables },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let stderr = '';
  let ended: Error | undefined;
  const end = (error: Error): void => {
    ended = error;
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => undefined);
  child.once('error', end);
  child.once('close', () => end(new Error(`Modal could not be asked:\n${stderr.trim()}`)));
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { id, value, error } = answer.parse(JSON.parse(line));
    const asked = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) asked?.resolve(value);
    else asked?.reject(new Error(`Modal answered: ${error}`));
  });
  let count = 0;
  const ask = (question: Readonly<Record<string, string>>): Promise<unknown> => {
    if (ended !== undefined) return Promise.reject(ended);
    const asked = Promise.withResolvers<unknown>();
    waiting.set((count += 1), asked);
    child.stdin.write(`${JSON.stringify({ ...question, id: count })}\n`);
    return asked.promise;
  };
  return {
    apps: async () => apps.parse(await ask({ ask: 'apps' })),
    history: async (app) => history.parse(await ask({ ask: 'history', ...app })),
    untried: async () => untried.parse(await ask({ ask: 'untried' })),
    mark: async (endpoint, fingerprint) => {
      await ask({ ask: 'mark', endpoint, fingerprint });
    },
    unmark: async (endpoint) => {
      await ask({ ask: 'unmark', endpoint });
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
      const closed = new Promise((resolve) => child.once('close', resolve));
      // Nothing is under way that it could lose.
      child.kill();
      await closed;
    },
  };
}
