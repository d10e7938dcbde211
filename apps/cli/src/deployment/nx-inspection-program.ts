/**
 * The process behind `inspectWorkspace`: reads a request from stdin, and answers with the last line on stdout.
 *
 * `affected` is what `nx show projects --affected` computes, and a fingerprint is what a task finds in NX_TASK_HASH; a test
 * compares both with Nx's own commands, since these functions are not part of Nx's public interface (nx is pinned).
 */
import { existsSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import process from 'node:process';

import type { HashInputs } from 'nx/src/native/index.js';
import { readNxJson } from 'nx/src/config/nx-json.js';
import { InProcessTaskHasher } from 'nx/src/hasher/task-hasher.js';
import { filterAffected } from 'nx/src/project-graph/affected/affected-project-graph.js';
import { getFileMap } from 'nx/src/project-graph/build-project-graph.js';
import { calculateFileChanges } from 'nx/src/project-graph/file-utils.js';
import graphCache from 'nx/src/project-graph/nx-deps-cache.js';
import { createProjectGraphAsync } from 'nx/src/project-graph/project-graph.js';
import { createTaskGraph } from 'nx/src/tasks-runner/create-task-graph.js';
import { parseFiles } from 'nx/src/utils/command-line-utils.js';

import type { Inspection, InspectionRequest } from './nx-inspection.ts';

const root = process.cwd();
// Nx writes the whole graph with the source of every setting: 42 MB with 1,000 endpoints, a fifth of the time. It reads back only
// the file map, which spares it the analysis of files that have not changed.
Object.assign(graphCache, { writeCache: writeFileMap });
const [graph, asked] = await Promise.all([
  createProjectGraphAsync({ exitOnError: false }),
  text(process.stdin),
]);
const { endpoints, target, range } = JSON.parse(asked) as InspectionRequest;
const nxJson = readNxJson(root);
const affected = range === null ? null : await affectedBy(range);
const wanted = endpoints.filter(
  (name) => graph.nodes[name]?.data.targets?.[target] !== undefined && (affected?.includes(name) ?? true),
);
const answer: Inspection = { affected, fingerprints: await fingerprints() };
writeSync(1, `\n${JSON.stringify(answer)}\n`);
process.exit();

async function affectedBy(of: { readonly base: string; readonly head?: string }): Promise<string[]> {
  const options = { base: of.base, ...(of.head === undefined ? {} : { head: of.head }) };
  const { files } = parseFiles(options);
  return Object.keys((await filterAffected(graph, calculateFileChanges(files, options), nxJson)).nodes);
}

async function fingerprints(): Promise<Inspection['fingerprints']> {
  if (wanted.length === 0) return {};
  const taskGraph = createTaskGraph(graph, {}, wanted, [target], undefined, {}, true);
  const tasks = Object.values(taskGraph.tasks);
  const environments = Object.fromEntries(tasks.map(({ id }) => [id, process.env]));
  const hasher = new InProcessTaskHasher(graph, nxJson, getFileMap().rustReferences, {});
  const hashes = await hasher.hashTasks(tasks, taskGraph, environments, root, true);
  return Object.fromEntries(
    tasks.map((task, index) => [
      task.target.project,
      { fingerprint: hashes[index]?.value ?? '', files: filesOf(hashes[index]?.inputs) },
    ]),
  );
}

/** Python packages are a node of the graph (tools/nx-comfyui), which is made of uv.lock. */
function filesOf(inputs: HashInputs | undefined): string[] {
  const { files = [], external = [] } = inputs ?? {};
  return external.some((name) => name.startsWith('python:')) ? [...files, 'uv.lock'] : files;
}

function writeFileMap(...[fileMap, , , errors]: Parameters<typeof graphCache.writeCache>): void {
  if (errors.length > 0) return;
  const written = JSON.stringify(fileMap);
  const file = graphCache.nxFileMap;
  if (existsSync(file) && readFileSync(file, 'utf8') === written) return;
  const next = `${file}~${process.pid}`;
  writeFileSync(next, written);
  renameSync(next, file);
}
