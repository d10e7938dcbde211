/** The workspace of a team before its migration, and what a person adds to what the import makes. */
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { z } from 'zod';

import { repositoryRoot } from '../test-support/live-workspace.ts';
import type { WorkspaceClone, WorkspaceOrigin } from '../test-support/workspace-clone.ts';
import { USD_PER_DAY } from './count.ts';
import type { PinnedModel } from './volume-files.ts';

/** The endpoints of the migration, by the names that the import gives them. */
export const ENDPOINTS = ['flux-schnell', 'z-image-turbo'] as const;

/** One of {@link ENDPOINTS}. */
export type EndpointName = (typeof ENDPOINTS)[number];

const FOLDER = 'apps/endpoints';
const MIGRATION = 'ryla.migration.json';

const model = z.object({
  url: z.string(),
  directory: z.string(),
  filename: z.string(),
  size: z.number(),
  sha256: z.string(),
});

/** What RunPod does not know of an endpoint; the rest comes from the import. */
const written = z.looseObject({
  workflow: z.unknown(),
  title: z.unknown(),
  description: z.unknown(),
  inputs: z.unknown(),
  outputs: z.unknown(),
  comfyui: z.unknown(),
  smoke: z.unknown(),
  models: z.array(model),
});

/**
 * The lines of the gates in a run of minutes: docs/migration-runbook.md says why each is as it is. Whatever is not here has its
 * default.
 */
const THRESHOLDS = {
  errorRate: { negligible: 0.05 },
  queueP95: { negligibleMs: 60_000 },
  executionP95: { negligibleMs: 10_000 },
  coldStartP95: 'not_judged',
  costPerPicture: { negligibleUsd: 0.05 },
} as const;

/** What the migration file of a run says of each endpoint beside its stage. */
const SCALED_DOWN = {
  shadow: { share: 1, usdPerDay: USD_PER_DAY },
  minimumHours: 0,
  liveDays: 0,
  quietHours: 0.005,
  thresholds: THRESHOLDS,
} as const;

/** A clone in which the endpoints of the migration are not known yet. */
export async function teamWorkspace(origin: WorkspaceOrigin): Promise<WorkspaceClone> {
  const clone = await origin.clone();
  for (const name of ENDPOINTS)
    await rm(path.join(clone.root, FOLDER, name), { recursive: true, force: true });
  await rm(path.join(clone.root, MIGRATION), { force: true });
  await clone.commit('Before the migration');
  return clone;
}

/** Models that the endpoints name in the repository, each once. */
export async function modelsOfEndpoints(): Promise<readonly PinnedModel[]> {
  const all = new Map<string, PinnedModel>();
  for (const name of ENDPOINTS)
    for (const each of (await writtenOf(name)).models) all.set(`${each.directory}/${each.filename}`, each);
  return [...all.values()];
}

/**
 * Does what the import leaves to a person: adds the workflow with its inputs, outputs and models, and the limits of the migration.
 *
 * @param models as they are on the network volume.
 */
export async function completeImport(clone: WorkspaceClone, models: readonly PinnedModel[]): Promise<void> {
  for (const name of ENDPOINTS) {
    const folder = path.join(clone.root, FOLDER, name);
    const imported = z.looseObject({}).parse(JSON.parse(await clone.read(`${FOLDER}/${name}/endpoint.json`)));
    const { providers: _, gpu: __, ...known } = await writtenOf(name);
    const here = known.models.map(
      (each) =>
        models.find((one) => one.directory === each.directory && one.filename === each.filename) ?? each,
    );
    const { workflow, title, description, inputs, outputs, comfyui, smoke } = known;
    const whole = {
      ...imported,
      ...{ workflow, title, description, inputs, outputs, comfyui, smoke },
      models: here,
    };
    await writeFile(path.join(folder, 'endpoint.json'), `${JSON.stringify(whole, undefined, 2)}\n`);
    await cp(path.join(repositoryRoot, FOLDER, name, 'workflow.json'), path.join(folder, 'workflow.json'));
  }
  await changeMigration(clone, (entry) => ({ ...entry, ...SCALED_DOWN }));
}

/** Sets what shadow jobs of each endpoint may cost a day, in US dollars. */
export async function setCap(clone: WorkspaceClone, usdPerDay: number): Promise<void> {
  await changeMigration(clone, (entry) => ({ ...entry, shadow: { ...SCALED_DOWN.shadow, usdPerDay } }));
}

async function changeMigration(
  clone: WorkspaceClone,
  change: (entry: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>,
): Promise<void> {
  const file = z
    .looseObject({ endpoints: z.record(z.string(), z.looseObject({})) })
    .parse(JSON.parse(await clone.read(MIGRATION)));
  const endpoints = Object.fromEntries(
    Object.entries(file.endpoints).map(([name, entry]) => [name, change(entry)]),
  );
  const text = JSON.stringify({ ...file, endpoints }, undefined, 2);
  await writeFile(path.join(clone.root, MIGRATION), `${text}\n`);
}

async function writtenOf(name: EndpointName): Promise<z.infer<typeof written>> {
  const file = path.join(repositoryRoot, FOLDER, name, 'endpoint.json');
  return written.parse(JSON.parse(await readFile(file, 'utf8')));
}
