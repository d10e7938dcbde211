/** What an import would make, worked out without touching anything. */
import { z } from 'zod';

import {
  migrationFile,
  MIGRATION_FILE,
  MIGRATION_SCHEMA,
  parseMigrationFile,
} from '../file/migration-file.ts';
import type { Account } from './account.ts';
import type { Container } from './container.ts';
import { Fields } from './fields.ts';
import { type ImportedEndpoint, readEndpoint, readTemplate } from './imported-endpoint.ts';
import { type Entry, Ledger } from './ledger.ts';

/** A network volume whose files are to be copied. */
export interface ImportedVolume {
  readonly id: string;
  readonly name: string | undefined;
  readonly sizeGb: number | undefined;
  readonly dataCenter: string | undefined;
  /** Whether its data centre has RunPod's S3 API; without it the copy needs a pod. */
  readonly hasS3: boolean;
  /** Names of the endpoints that mount it. */
  readonly endpoints: readonly string[];
}

/** What an import would make. */
export interface ImportPlan {
  readonly endpoints: readonly ImportedEndpoint[];
  /** Names of the workspace's endpoints that have a RunPod endpoint of the account already; nothing is made of these. */
  readonly present: readonly string[];
  readonly volumes: readonly ImportedVolume[];
  /** Every value of the input, once. */
  readonly entries: readonly Entry[];
}

/** A file that an import writes. */
export interface PlannedFile {
  /** From the root of the workspace, with `/`. */
  readonly path: string;
  readonly content: string;
}

/** Names that no endpoint may have: the app ryla-comfyui runs any workflow. */
const RESERVED = ['comfyui'];

/** Data centres without the S3 API (docs.runpod.io/serverless/storage/s3-api, as collected on 2026-11-24). */
const WITHOUT_S3 = /^(EU-SE-1|US-TX-.*|CA-MTL-.*)$/;

/**
 * Works out what an account becomes. Pure: nothing is read or written, on RunPod nothing is changed.
 *
 * @param taken names of endpoints that there are already.
 * @param imported names of endpoints by the id in their `providers.runpod.endpointId`: these are not imported again.
 */
export function planImport(
  account: Account,
  taken: Iterable<string> = [],
  imported: ReadonlyMap<string, string> = new Map(),
): ImportPlan {
  const ledger = new Ledger(account);
  const list = (name: keyof Account): readonly Fields[] =>
    account[name].map((_, index) => new Fields(ledger, [name, index]));
  const catalogue = readCatalogue(list('gpus'));
  const volumeIds = new Set(list('networkVolumes').flatMap((volume) => volume.text('id') ?? []));
  const templates = readTemplates(list('templates'), list('endpoints'));
  const context = { taken: new Set([...taken, ...RESERVED]), templates, catalogue, volumes: volumeIds };
  const present: string[] = [];
  const users: VolumeUser[] = [];
  const endpoints = list('endpoints').flatMap((fields) => {
    const name = imported.get(fields.text('id') ?? '');
    if (name === undefined) return readEndpoint(fields, context) ?? [];
    fields.claimAll('exact', `The workspace has it as apps/endpoints/${name}.`);
    present.push(name);
    users.push({ name, volumes: fields.texts('networkVolumes') ?? [fields.text('networkVolumeId') ?? ''] });
    return [];
  });
  const volumes = list('networkVolumes').map((fields) => readVolume(fields, [...users, ...endpoints]));
  for (const name of ['endpoints', 'templates', 'networkVolumes', 'gpus'] as const)
    if (account[name].length === 0) ledger.claim('exact', [name], 'There are none.');
  return { endpoints, present, volumes, entries: ledger.entries() };
}

function readCatalogue(types: readonly Fields[]): ReadonlyMap<string, string> {
  const pools = new Map<string, string>();
  for (const type of types) {
    const [id, pool] = [type.text('id'), type.text('pool')];
    if (id !== undefined && pool !== undefined) pools.set(id, pool);
    type.claimAll('exact', 'Catalogue: tells which pool a GPU type is of.');
  }
  return pools;
}

function readTemplates(
  templates: readonly Fields[],
  endpoints: readonly Fields[],
): ReadonlyMap<string, Container> {
  const used = new Set(endpoints.flatMap((endpoint) => endpoint.text('templateId') ?? []));
  const read = new Map<string, Container>();
  for (const template of templates) {
    const id = template.text('id');
    if (id !== undefined && used.has(id)) read.set(id, readTemplate(template, 'ryla-<endpoint>-env'));
    else
      template.claimAll(
        'changes',
        'No endpoint of the export refers to it: what an endpoint took over stands in the endpoint itself.',
      );
  }
  return read;
}

type VolumeUser = Pick<ImportedEndpoint, 'name' | 'volumes'>;

function readVolume(fields: Fields, endpoints: readonly VolumeUser[]): ImportedVolume {
  const id = fields.text('id') ?? '';
  const centre = fields.has('dataCenter') ? 'dataCenter' : 'dataCenterId';
  const dataCenter = fields.text(centre);
  const sizeGb = fields.number('size');
  const users = endpoints.filter(({ volumes }) => volumes.includes(id)).map(({ name }) => name);
  const hasS3 = dataCenter !== undefined && !WITHOUT_S3.test(dataCenter);
  if (id !== '') fields.claim('exact', 'id', 'The source of the volume copy.');
  fields.claim('changes', 'name', 'Its models go to the Modal Volume ryla-models.');
  if (sizeGb !== undefined) fields.claim('changes', 'size', 'A Modal Volume has no size.');
  if (dataCenter !== undefined)
    fields.claim(
      hasS3 ? 'changes' : 'person',
      centre,
      hasS3
        ? 'Read through the S3 API of that data centre; a Modal Volume is in none.'
        : `${dataCenter} has no S3 API: the copy needs a pod there.`,
    );
  fields.claim('changes', 'type', 'A tier of storage; Modal has one.');
  fields.claim('changes', 'createdAt', "A fact of RunPod's, not a setting: nothing stands for it.");
  return { id, name: fields.text('name'), sizeGb, dataCenter, hasS3, endpoints: users };
}

const written = z.looseObject({ endpoints: z.record(z.string(), z.unknown()).optional() });

/**
 * The files of an import: one endpoint.json each, and the migration file with the new endpoints added at stage `off`.
 *
 * @param existing text of ryla.migration.json, when there is one; what it says stays.
 * @throws {MigrationError} `invalid_file` when that is not valid.
 */
export function plannedFiles(
  { endpoints }: Pick<ImportPlan, 'endpoints'>,
  existing?: string,
): readonly PlannedFile[] {
  const kept = written.parse(existing === undefined ? {} : JSON.parse(checked(existing)));
  const added = endpoints.map(({ name }) => [name, { stage: 'off' }] as const);
  const file = {
    $schema: MIGRATION_SCHEMA,
    ...kept,
    endpoints: { ...Object.fromEntries(added), ...kept.endpoints },
  };
  migrationFile.parse(file);
  return [
    ...endpoints.map(({ name, document }) => ({
      path: `apps/endpoints/${name}/endpoint.json`,
      content: printed(document),
    })),
    { path: MIGRATION_FILE, content: printed(file) },
  ];
}

function checked(text: string): string {
  parseMigrationFile(text);
  return text;
}

function printed(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
