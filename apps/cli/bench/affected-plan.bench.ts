/**
 * `ryla deploy --affected --plan` after a change of one endpoint among many, beside `nx show projects --affected`. The plan also
 * hashes, and asks the local Modal by the real client. Cold: the first start in a fresh clone; warm: the middle one of five.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';

import type { BenchResult } from '@ryla/test-support';

import { LocalAccount } from '../scenarios/local-account.ts';
import { addSyntheticEndpoints } from '../test-support/synthetic-endpoints.ts';
import type { Ended } from '../test-support/live-workspace.ts';
import { type WorkspaceClone, WorkspaceOrigin } from '../test-support/workspace-clone.ts';

const SIZES = [10, 100, 1_000];
const WARM_RUNS = 5;

/** Two results for each size. */
export async function run(): Promise<BenchResult[]> {
  await using origin = await WorkspaceOrigin.make();
  await using account = await LocalAccount.start();
  const results: BenchResult[] = [];
  for (const size of SIZES) {
    const clone = await origin.clone();
    await clone.reach(account.printed);
    const [first = ''] = await addSyntheticEndpoints(clone, size);
    await clone.append(`apps/endpoints/${first}/workflow.json`, '\n');
    await clone.commit('one change');
    const plan = await times(clone, () =>
      clone.ryla('deploy', '--affected', '--base', 'HEAD~1', '--head', 'HEAD', '--plan', '--json'),
    );
    const shown = await times(clone, () =>
      clone.nx('show', 'projects', '--affected', '--base=HEAD~1', '--head=HEAD', '--json'),
    );
    results.push(
      resultOf(`plan of one change among ${String(size)} endpoints, cold`, plan.cold, shown.cold),
      resultOf(`plan of one change among ${String(size)} endpoints, warm`, plan.warm, shown.warm),
    );
    await rm(clone.root, { recursive: true });
  }
  return results;
}

async function times(
  clone: WorkspaceClone,
  command: () => Promise<Ended>,
): Promise<{ readonly cold: number; readonly warm: number }> {
  await rm(path.join(clone.root, '.nx'), { recursive: true, force: true });
  const cold = await seconds(command);
  const warm: number[] = [];
  for (let round = 0; round < WARM_RUNS; round += 1) warm.push(await seconds(command));
  return { cold, warm: warm.sort((a, b) => a - b)[Math.floor(WARM_RUNS / 2)] ?? 0 };
}

async function seconds(command: () => Promise<Ended>): Promise<number> {
  const begun = performance.now();
  const { code, stderr } = await command();
  if (code !== 0) throw new Error(stderr);
  return (performance.now() - begun) / 1000;
}

function resultOf(name: string, ours: number, peer: number): BenchResult {
  return { name, ours, peer, peerName: 'nx show projects --affected', ratio: ours / peer, unit: 's' };
}
