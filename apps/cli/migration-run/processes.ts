/** The processes of a run: three services on one job store, a client that uses them, and what passes between them. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

import type { Answer, Ask, FromService, Ledger } from './protocol.ts';
import { fromClient, fromService } from './protocol.ts';

/** Service processes of a run. */
export const SERVICES = 3;

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** What a service told, and which. */
export interface ServiceEvent {
  readonly service: number;
  readonly told: FromService;
}

/** Everything that was said, in order. */
export class Traffic implements AsyncDisposable {
  readonly events: ServiceEvent[] = [];
  readonly #root: string;
  readonly #endpoints: readonly string[];
  readonly #services: Child[] = [];
  readonly #ended: Promise<void>[] = [];
  readonly #failed = Promise.withResolvers<never>();
  #client: Child | undefined;
  #ledger = Promise.withResolvers<Ledger>();
  #isClosing = false;
  #clientSeeds = 0;

  /** @param root a workspace with the endpoints, their migration file and their clouds. */
  constructor(root: string, endpoints: readonly string[]) {
    this.#root = root;
    this.#endpoints = endpoints;
    this.#failed.promise.catch(() => undefined);
  }

  /** Rejects when a process ends by itself. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  /** Answers so far. */
  get answers(): readonly Answer[] {
    return this.events.flatMap(({ told }) => (told.type === 'answer' ? [told] : []));
  }

  /** Starts the services, and waits until all take jobs. */
  async startServices(): Promise<void> {
    for (let index = 0; index < SERVICES; index += 1) {
      const ready = Promise.withResolvers<undefined>();
      const child = this.#start('service-process.ts', [this.#root, ...this.#endpoints], (line) => {
        const told = fromService.parse(JSON.parse(line));
        if (told.type === 'ready') ready.resolve(undefined);
        this.#heard({ service: index, told });
      });
      this.#services.push(child);
      await Promise.race([ready.promise, this.failed]);
    }
  }

  /** Starts the client: so many jobs a second over all endpoints. */
  startClient(rate: number, seed: number): void {
    this.#clientSeeds += 1;
    const args = [String(rate), String(seed + this.#clientSeeds), ...this.#endpoints];
    this.#client = this.#start('client-process.ts', args, (line) => {
      const told = fromClient.parse(JSON.parse(line));
      if (told.type === 'ledger') this.#ledger.resolve(told);
      else this.#pass(told);
    });
  }

  /** Tells the client to ask for nothing more; resolves with its account when it has its answers, or has waited long enough. */
  async stopClient(): Promise<Ledger> {
    this.#isClosing = true;
    this.#client?.stdin.write(`${JSON.stringify({ type: 'stop' })}\n`);
    return Promise.race([this.#ledger.promise, this.failed]);
  }

  /** Ends every process. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    this.#client?.stdin.end();
    for (const service of this.#services) service.stdin.end();
    const timer = setTimeout(() => {
      for (const child of [this.#client, ...this.#services]) child?.kill('SIGKILL');
    }, 30_000);
    await Promise.all(this.#ended);
    clearTimeout(timer);
  }

  /** As a load balancer: in turn. */
  #pass(asked: Ask): void {
    this.#services[asked.n % SERVICES]?.stdin.write(`${JSON.stringify(asked)}\n`);
  }

  #heard(event: ServiceEvent): void {
    this.events.push(event);
    if (event.told.type === 'answer' && this.#client?.stdin.writable === true)
      this.#client.stdin.write(`${JSON.stringify(event.told)}\n`);
  }

  #start(program: string, args: readonly string[], onLine: (line: string) => void): Child {
    // The programs of the workspace itself, so that they use its libraries and no others.
    const file = path.join(this.#root, 'apps/cli/migration-run', program);
    const child = spawn(process.execPath, ['--conditions=@ryla/source', '--no-warnings', file, ...args], {
      cwd: this.#root,
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    let complaints = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
    child.stdin.on('error', () => undefined);
    const lines = createInterface({ input: child.stdout }).on('line', (line) => {
      try {
        onLine(line);
      } catch (error) {
        this.#failed.reject(error);
      }
    });
    this.#ended.push(
      Promise.all([once(child, 'close'), once(lines, 'close')]).then(() => {
        if (!this.#isClosing) this.#failed.reject(new Error(`${program} ended by itself:\n${complaints}`));
      }),
    );
    return child;
  }
}
