/** `ryla migrate volume`: starts the copy in a Modal container, and shows how far it is. */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';

import { migrationPath, openStore } from '@ryla/business/config';
import { readLocalClouds } from '@ryla/business/local-clouds';
import { noteModelsVerified, parseMigrationFile, type VolumeCheck, volumeCheck } from '@ryla/migration';
import { createRunPodManagement } from '@ryla/runpod-management';

import { createModalCli, type ModalCli } from '../deployment/modal-cli.ts';
import { modalVariables } from '../deployment/modal-cloud.ts';
import { accountOf } from '../deployment/runpod-cloud.ts';
import { EXIT, UsageError } from '../exit-codes.ts';
import type { Output } from '../output.ts';
import type { Workspace } from '../workspace.ts';
import { abortOnInterrupt, inTarget, keptFolder, type MigrateOptions } from './migration-place.ts';
import { onRunPod } from './runpod-ids.ts';
import { copyLines } from './copy-lines.ts';

/** Options of `volume`; the last ones are those of copy_volume.py. */
export interface VolumeOptions extends MigrateOptions {
  readonly volume?: string;
  readonly dataCenter?: string;
  readonly plan?: boolean;
  readonly check?: boolean;
  readonly rehash?: boolean;
  readonly only?: string;
  readonly usedOnly?: boolean;
  readonly endpoint?: string;
  readonly bandwidth?: number;
  readonly connections?: number;
  readonly roots?: string;
  readonly overwrite?: boolean;
  readonly reread?: boolean;
  readonly s3Url?: string;
}

/** A network volume, and where it is. */
export interface VolumeAddress {
  readonly volumeId: string;
  readonly dataCenter: string;
}

/** Copies, plans or checks. */
export async function copyVolume(options: VolumeOptions, given?: ModalCli): Promise<void> {
  if (options.plan === true && options.check === true)
    throw new UsageError('Choose one of --plan and --check.');
  if (options.rehash === true && options.check !== true) throw new UsageError('--rehash belongs to --check.');
  await inTarget(options, async (workspace, output) => {
    const address = await addressOf(workspace, options);
    output.note(`Network volume ${address.volumeId} in ${address.dataCenter}`);
    const cli = given ?? createModalCli(workspace.root, modalVariables(workspace, undefined));
    using stop = abortOnInterrupt(output, 'Stopping the copy; the next run goes on where it stopped.');
    const s3Url = options.s3Url ?? localS3(workspace);
    const check = await runCopy(workspace, address, {
      ...options,
      ...(s3Url === undefined ? {} : { s3Url }),
      output,
      cli,
      stop: stop.signal,
    });
    if (check === undefined) {
      process.exitCode = EXIT.interrupted;
      return;
    }
    if (check.document.mode !== 'plan') await noteVerified(workspace, check);
    if (output.json) output.result(check.raw, '');
    process.exitCode = check.document.mode === 'plan' || check.document.complete ? EXIT.ok : EXIT.failed;
  });
}

/** The S3 API of the local RunPod; undefined for real ones, whose data centre has its own. */
function localS3({ target, root }: Workspace): string | undefined {
  return target === 'local' ? readLocalClouds(root).environment['RUNPOD_S3_URL'] : undefined;
}

/** Arguments of copy_volume.py. */
export function copyArguments({ volumeId, dataCenter }: VolumeAddress, options: VolumeOptions): string[] {
  const flags = (['plan', 'check', 'rehash', 'usedOnly', 'overwrite', 'reread'] as const).filter(
    (name) => options[name] === true,
  );
  const values = (['only', 'endpoint', 'bandwidth', 'connections', 'roots', 's3Url'] as const).flatMap(
    (name) => {
      const value = options[name];
      return value === undefined ? [] : [`--${dashed(name)}`, String(value)];
    },
  );
  return [
    'copy_volume.py',
    ...['--data-center', dataCenter, '--volume-id', volumeId],
    ...flags.map((name) => `--${dashed(name)}`),
    ...values,
  ];
}

function dashed(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

type Saved = VolumeCheck & { readonly raw: unknown };

interface Running extends VolumeOptions {
  readonly output: Output;
  readonly cli: ModalCli;
  readonly stop: AbortSignal;
}

/** Undefined when it was interrupted. */
async function runCopy(
  workspace: Workspace,
  address: VolumeAddress,
  { output, cli, stop, ...options }: Running,
): Promise<Saved | undefined> {
  const folder = keptFolder(workspace);
  await mkdir(folder, { recursive: true });
  const report = path.join(folder, `volume-${address.volumeId}.${process.pid}.json`);
  const lines = copyLines(output);
  try {
    const failure = await cli
      .run(['run', ...copyArguments(address, options), '--report', report], {
        // A terminal's Ctrl-C has reached modal already: a second one would not let it clean up.
        ...(process.stdin.isTTY ? {} : { signal: stop }),
        onLog: lines.line,
      })
      .then(
        () => undefined,
        (error: unknown) => error,
      );
    lines.close();
    if (stop.aborted) return undefined;
    // Its exit code is 1 too when something is not copied: then there is a report.
    const text = await readFile(report, 'utf8').catch(() => undefined);
    if (text === undefined) throw copyFailed(failure);
    return await keep(workspace, address, JSON.parse(text));
  } finally {
    lines.close();
    await rm(report, { force: true });
  }
}

async function keep(workspace: Workspace, { volumeId }: VolumeAddress, raw: unknown): Promise<Saved> {
  const saved = volumeCheck.safeParse({ volumeId, checkedAt: new Date().toISOString(), document: raw });
  if (!saved.success) throw copyFailed(new Error(errorOf(raw)));
  if (saved.data.document.mode !== 'plan') {
    const file = checkFile(workspace, volumeId);
    await writeFile(`${file}.new`, `${JSON.stringify(saved.data)}\n`);
    await rename(`${file}.new`, file);
  }
  return { ...saved.data, raw };
}

/** Where the last copy or check of a volume is kept. */
export function checkFile(workspace: Workspace, volumeId: string): string {
  return path.join(keptFolder(workspace), `volume-${volumeId}.json`);
}

/** Notes for each endpoint of the migration whose models are all there, for `advance`. */
async function noteVerified(
  workspace: Workspace,
  { document, volumeId, checkedAt }: VolumeCheck,
): Promise<void> {
  const place = migrationPath(workspace);
  if (!document.complete || place === undefined) return;
  const file = parseMigrationFile(await readFile(place, 'utf8'));
  await using store = await openStore(workspace);
  for (const endpoint of Object.keys(file.endpoints)) {
    const described = onRunPod(workspace, endpoint);
    if (described === undefined || !coveredBy(document, volumeId, endpoint, described)) continue;
    const { source, files } = document;
    await noteModelsVerified(store, endpoint, { at: Date.parse(checkedAt), source, files: files.length });
  }
}

/** Whether a complete copy has all that an endpoint needs: the models that it names, or else the whole volume. */
export function coveredBy(
  { files, leftOut }: VolumeCheck['document'],
  volumeId: string,
  endpoint: string,
  { models, networkVolumes }: { readonly models: number; readonly networkVolumes: readonly string[] },
): boolean {
  if (models > 0) return files.filter(({ endpoints }) => endpoints.includes(endpoint)).length >= models;
  return leftOut === 0 && networkVolumes.includes(volumeId);
}

async function addressOf(workspace: Workspace, options: VolumeOptions): Promise<VolumeAddress> {
  const volumeId = options.volume ?? namedVolume(workspace, options.endpoint);
  if (options.dataCenter !== undefined) return { volumeId, dataCenter: options.dataCenter };
  const { apiKey, managementUrl } = accountOf(workspace);
  await using client = createRunPodManagement({
    apiKey,
    ...(managementUrl === undefined ? {} : { baseUrl: managementUrl }),
  });
  return { volumeId, dataCenter: (await client.getNetworkVolume(volumeId)).dataCenter };
}

function namedVolume(workspace: Workspace, endpoint: string | undefined): string {
  const names = endpoint === undefined ? workspace.endpointNames() : [endpoint];
  const named = new Set(names.flatMap((name) => onRunPod(workspace, name)?.networkVolumes ?? []));
  const [first, ...others] = named;
  if (first !== undefined && others.length === 0) return first;
  throw new UsageError(
    first === undefined
      ? 'No endpoint.json names a network volume (providers.runpod.networkVolumes): give --volume <id>.'
      : `The endpoints name several network volumes: give --volume with one of ${[...named].join(', ')}.`,
  );
}

function errorOf(raw: unknown): string {
  const text = JSON.stringify(raw);
  const error = /"message":\s*("(?:[^"\\]|\\.)*")/.exec(text)?.[1];
  return error === undefined ? text.slice(0, 500) : String(JSON.parse(error));
}

function copyFailed(cause: unknown): Error {
  const text = cause instanceof Error ? cause.message : String(cause);
  const hint = /ryla-runpod-s3/.test(text)
    ? '\nMake the Modal secret ryla-runpod-s3 with RunPod’s S3 API keys: docs/migration-volume.md.'
    : '';
  return new Error(`The copy did not run: ${text}${hint}`, { cause });
}
