/**
 * `npm run test:workflows`: the workflows' linters, then the workflows themselves, run by act on this machine against a local
 * GitHub and the local clouds. `npm run test:workflows -- deploy-modal drift` plays these parts only.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';

import { ALL_CHECKS, lintWorkflows } from '../src/lint-workflows.ts';
import type { RunReport } from './act.ts';
import { LocalGitHub } from './local-github.ts';
import { Origin } from './origin.ts';
import { STORY } from './story.ts';
import { startTestClouds } from './test-clouds.ts';

const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !STORY.some((part) => part.name === name));
if (unknown !== undefined) {
  console.error(`There is no part ${unknown}. There are: ${STORY.map(({ name }) => name).join(', ')}.`);
  process.exit(2);
}

/** Folder for the summaries of all runs, which docs/ci.md shows; none without the variable. */
const { WORKFLOW_SUMMARIES: summaries } = process.env;

let runs = 0;

async function told(title: string, { succeeded, ms, summary }: RunReport): Promise<void> {
  runs += 1;
  console.log(`  ${succeeded ? 'ran' : 'failed'} in ${(ms / 1000).toFixed(1)} s  ${title}`);
  if (summaries !== undefined && summary !== '')
    await writeFile(
      path.join(summaries, `${String(runs).padStart(2, '0')}.md`),
      `<!-- ${title} -->\n\n${summary}\n`,
    );
}

async function play(): Promise<string[]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'workflows-'));
  try {
    const origin = await Origin.make(path.join(folder, 'origin'));
    await using github = await LocalGitHub.start(origin);
    await using clouds = await startTestClouds(folder);
    const world = {
      folder,
      origin,
      github,
      clouds,
      onRun: (title: string, report: RunReport) => void told(title, report),
    };
    for (const part of STORY.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
      console.log(part.name);
      try {
        await part.play(world);
      } catch (error) {
        // The parts after it build on it.
        return [`${part.name}: ${error instanceof Error ? error.message : String(error)}`];
      }
    }
    if (summaries !== undefined && github.issues[0] !== undefined)
      await writeFile(
        path.join(summaries, 'issue.md'),
        `${github.issues[0].title}\n\n${github.issues[0].body}`,
      );
    return [];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const failed = [...(wanted.length === 0 ? lintWorkflows(ALL_CHECKS, false) : []), ...(await play())];
for (const failure of failed) console.error(`FAILED ${failure}`);
console.log(`${runs} runs, ${failed.length === 0 ? 'all as they should be' : 'not all as they should be'}`);
process.exit(failed.length === 0 ? 0 : 1);
