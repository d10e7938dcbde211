/** One scenario: a clone, an environment, and the pushes of its history, each followed by what CI would do. */
import process from 'node:process';

import { z } from 'zod';

import { type Ended, ended, saidOn } from '../test-support/live-workspace.ts';
import type { WorkspaceClone, WorkspaceOrigin } from '../test-support/workspace-clone.ts';
import type { LocalAccount } from './local-account.ts';

const document = z.object({
  endpoints: z.array(z.object({ endpoint: z.string(), action: z.string(), result: z.string().optional() })),
});
const versions = z.array(z.object({ version: z.string(), tag: z.string().nullish() }));
const apps = z.array(z.object({ app_id: z.string(), description: z.string(), state: z.string() }));

/** What a deploy did. */
export interface Deploy {
  readonly code: number | null;
  /** Endpoints by result, sorted; what was unchanged is left out. */
  readonly results: Readonly<Record<string, string>>;
  /** Endpoints that Nx selected, or that were found to be deleted. */
  readonly selected: readonly string[];
  readonly stderr: string;
}

/** A scenario's hands. */
export class Story {
  readonly origin: WorkspaceOrigin;
  readonly account: LocalAccount;
  readonly environment: string;
  clone: WorkspaceClone;
  /** Commit of the last successful deploy, as CI finds it; `none` before the first. */
  base = 'none';
  /** Whether deployments are tried with their jobs. */
  smoke = false;

  constructor(origin: WorkspaceOrigin, account: LocalAccount, environment: string, clone: WorkspaceClone) {
    this.origin = origin;
    this.account = account;
    this.environment = environment;
    this.clone = clone;
  }

  /** Everything of the first commit is live, and `base` is that commit. */
  async begin(): Promise<void> {
    const { code, stderr } = await this.deploy();
    if (code !== 0) throw new Error(`The first deploy failed:\n${stderr}`);
  }

  /** Commits a change and deploys it. */
  async push(change: (clone: WorkspaceClone) => Promise<unknown>): Promise<Deploy> {
    await change(this.clone);
    await this.clone.commit('A change');
    return this.deploy();
  }

  /** What the deploy workflow runs, with the base that it would find. */
  async deploy(more: readonly string[] = [], base = this.base, clone = this.clone): Promise<Deploy> {
    const done = deployOf(
      await this.ryla(
        ['deploy', '--affected', '--base', base, '--head', 'HEAD', ...this.#smoke, ...more, '--json'],
        clone,
      ),
    );
    if (done.code === 0) this.base = await clone.git('rev-parse', 'HEAD');
    return done;
  }

  get #smoke(): readonly string[] {
    return this.smoke ? [] : ['--no-smoke'];
  }

  /** Runs `ryla` in this scenario's environment. */
  async ryla(args: readonly string[], clone = this.clone): Promise<Ended> {
    await clone.reach(this.account.printed);
    return clone.ryla(...args, '--environment', this.environment);
  }

  /** Starts a deploy and kills it, with all that it started, as soon as it has said this. */
  async deployUntil(said: RegExp): Promise<void> {
    await this.clone.reach(this.account.printed);
    const args = ['deploy', '--affected', '--base', this.base, '--head', 'HEAD'];
    const child = this.clone.start('ryla', [...args, '--environment', this.environment], true);
    const end = ended(child);
    // Killed in any case: where it ends without having said it, the group is gone already.
    await saidOn(child.stderr, said).finally(() => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    });
    await end;
  }

  /** `ryla deploy --all`. */
  async deployAll(...more: readonly string[]): Promise<Deploy> {
    return deployOf(await this.ryla(['deploy', '--all', ...this.#smoke, ...more, '--json']));
  }

  /** Exit code of `ryla drift`: 0 equal, 3 different. */
  async drift(): Promise<number | null> {
    return (await this.ryla(['drift'])).code;
  }

  /** Number of versions of every app that is deployed, as Modal's own program tells it. */
  async versions(): Promise<Record<string, number>> {
    const env = ['--env', this.environment, '--json'];
    const listed = apps.parse(JSON.parse((await this.account.modal(['app', 'list', ...env])).stdout));
    const counts: Record<string, number> = {};
    for (const { app_id, description, state } of listed) {
      if (state !== 'deployed') continue;
      const { stdout } = await this.account.modal(['app', 'history', app_id, ...env]);
      counts[description.replace(/^ryla-/, '')] = versions.parse(JSON.parse(stdout)).length;
    }
    return counts;
  }
}

/** Reads what `ryla deploy --json` said. */
function deployOf({ code, stdout, stderr }: Ended): Deploy {
  const parsed = stdout.trim() === '' ? { endpoints: [] } : document.parse(JSON.parse(stdout));
  const entries = parsed.endpoints.map(({ endpoint, result = '' }) => [endpoint, result] as const);
  return {
    code,
    selected: entries.map(([endpoint]) => endpoint).sort(),
    results: Object.fromEntries(
      entries.filter(([, result]) => result !== 'unchanged').sort(([a], [b]) => (a < b ? -1 : 1)),
    ),
    stderr,
  };
}
