import process from 'node:process';

import { formatFiles, logger, readJson, type Tree } from '@nx/devkit';
import {
  type Account,
  importReport,
  MIGRATION_FILE,
  MigrationError,
  plannedFiles,
  planImport,
  readAccount,
  readExports,
} from '@ryla/migration';
import { createRunPodManagement } from '@ryla/runpod-management';
import { z } from 'zod';

import { endpointNames, endpointRoot } from '../endpoint/endpoint-folder.ts';
import { userPath } from '../endpoint/user-path.ts';
import type { ImportRunpodOptions } from './options.ts';

/**
 * `nx g @ryla/nx-comfyui:import-runpod`: endpoints of a RunPod account as endpoint projects, which lack their workflows. Prints the
 * report, and writes nothing unless `write` is set. An endpoint whose name the workspace has already gets
 * another one, so that nothing is overwritten; one whose RunPod id an endpoint.json names is not imported again.
 *
 * @throws {MigrationError} `invalid_export` or `invalid_file`.
 * @throws {RunPodManagementError} when the account cannot be read.
 */
export async function importRunpod(
  tree: Tree,
  { files = [], write = false, report = 'migration-import.md' }: ImportRunpodOptions,
): Promise<void> {
  const account = files.length > 0 ? await readExports(files.map(userPath)) : await readOnline();
  const plan = planImport(account, endpointNames(tree), endpointsByRunpodId(tree));
  const text = importReport(plan);
  logger.info(text);
  if (!write) {
    logger.info('Nothing was written. Run it again with --write.');
    return;
  }
  const existing = tree.exists(MIGRATION_FILE) ? tree.read(MIGRATION_FILE, 'utf8') : null;
  for (const { path, content } of plannedFiles(plan, existing ?? undefined)) tree.write(path, content);
  tree.write(report, text);
  await formatFiles(tree);
}

const named = z.object({ providers: z.object({ runpod: z.object({ endpointId: z.string() }) }) });

/** Names of the workspace's endpoints that stand on RunPod, by their ids there. */
function endpointsByRunpodId(tree: Tree): ReadonlyMap<string, string> {
  return new Map(
    endpointNames(tree).flatMap((name) => {
      const read = named.safeParse(readJson(tree, `${endpointRoot(name)}/endpoint.json`));
      return read.success ? [[read.data.providers.runpod.endpointId, name] as const] : [];
    }),
  );
}

async function readOnline(): Promise<Account> {
  const { RUNPOD_API_KEY: apiKey = '', RUNPOD_MANAGEMENT_URL: baseUrl } = process.env;
  if (apiKey === '')
    throw new MigrationError('invalid_export', 'There is nothing to import from.', {
      hint: 'Set RUNPOD_API_KEY, or name exported files: --files=endpoints.json,templates.json.',
    });
  await using client = createRunPodManagement({ apiKey, ...(baseUrl === undefined ? {} : { baseUrl }) });
  return await readAccount(client);
}
