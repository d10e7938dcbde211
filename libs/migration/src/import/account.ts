/** What is imported: an account as RunPod's API describes it, or exported files of it. */
import { readFile } from 'node:fs/promises';

import {
  type EnvironmentVariables,
  readRunpodEndpoints,
  referencedSecret,
  type RunPodManagement,
  secretReference,
} from '@ryla/runpod-management';

import { MigrationError } from '../migration-error.ts';

/** Everything of an account, as it was exported; nothing is checked yet. */
export interface Account {
  readonly endpoints: readonly unknown[];
  readonly templates: readonly unknown[];
  readonly networkVolumes: readonly unknown[];
  /** The GPU catalogue. */
  readonly gpus: readonly unknown[];
}

const COLLECTIONS = ['endpoints', 'templates', 'networkVolumes', 'gpus'] as const;

/** An account without anything. */
const NOTHING: Account = { endpoints: [], templates: [], networkVolumes: [], gpus: [] };

/**
 * Reads exported files: answers of the API v2 (`{"endpoints": […]}`), bare arrays of v1, one object, or several of these in one.
 *
 * @throws {MigrationError} `invalid_export`, naming the file.
 */
export async function readExports(files: readonly string[]): Promise<Account> {
  const read = [];
  for (const file of files) {
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (cause) {
      throw new MigrationError('invalid_export', `${file} cannot be read.`, { cause });
    }
    read.push(parseExport(text, file));
  }
  return mergeAccounts(read);
}

/**
 * Reads one exported file.
 *
 * @throws {MigrationError} `invalid_export`.
 */
export function parseExport(text: string, name: string): Account {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MigrationError('invalid_export', `${name} is not JSON.`, { cause });
  }
  if (Array.isArray(value)) return classified(value, name);
  if (!isObject(value)) throw notKnown(name);
  const collections = COLLECTIONS.filter((key) => Object.hasOwn(value, key));
  if (collections.length === 0) return classified([value], name);
  const others = Object.keys(value).filter((key) => !COLLECTIONS.some((known) => known === key));
  if (others.length > 0)
    throw new MigrationError(
      'invalid_export',
      `${name} has ${others.join(', ')} beside ${collections.join(', ')}.`,
      {
        hint: `An export holds ${COLLECTIONS.join(', ')} and nothing else, so that nothing is overlooked.`,
      },
    );
  return {
    ...NOTHING,
    ...Object.fromEntries(
      collections.map((key) => {
        const list = value[key];
        if (!Array.isArray(list)) throw new MigrationError('invalid_export', `${key} of ${name} is no list.`);
        return [key, list];
      }),
    ),
  };
}

/** Reads an account over the management API v2; only reads. */
export async function readAccount(client: RunPodManagement, signal?: AbortSignal): Promise<Account> {
  const options = signal === undefined ? {} : { signal };
  const [endpoints, templates, networkVolumes, gpus] = await Promise.all([
    readRunpodEndpoints(client, options),
    client.listTemplates(options),
    client.listNetworkVolumes(options),
    client.listGpuTypes(options),
  ]);
  return {
    endpoints: endpoints.map(withNames),
    templates: templates.map(withNames),
    networkVolumes,
    gpus,
  };
}

/** Several exports as one. */
export function mergeAccounts(accounts: readonly Account[]): Account {
  return {
    endpoints: accounts.flatMap(({ endpoints }) => endpoints),
    templates: accounts.flatMap(({ templates }) => templates),
    networkVolumes: accounts.flatMap(({ networkVolumes }) => networkVolumes),
    gpus: accounts.flatMap(({ gpus }) => gpus),
  };
}

/** Values of variables stay behind: only references to secrets come along, which are names. */
function withNames(item: { readonly env?: EnvironmentVariables | undefined }): unknown {
  const { env, ...rest } = item;
  if (env === undefined) return rest;
  const names = env.names().map((name) => {
    const secret = referencedSecret(env.get(name) ?? '');
    return [name, secret === undefined ? '(not read)' : secretReference(secret)] as const;
  });
  return { ...rest, env: Object.fromEntries(names) };
}

function classified(items: readonly unknown[], name: string): Account {
  const lists: Record<(typeof COLLECTIONS)[number], unknown[]> = {
    endpoints: [],
    templates: [],
    networkVolumes: [],
    gpus: [],
  };
  for (const item of items) lists[collectionOf(item, name)].push(item);
  return lists;
}

/** By the fields that only one kind of thing has. */
function collectionOf(item: unknown, name: string): (typeof COLLECTIONS)[number] {
  if (!isObject(item)) throw notKnown(name);
  const has = (...keys: readonly string[]): boolean => keys.some((key) => Object.hasOwn(item, key));
  if (has('workersMax', 'workersMin', 'scalerType', 'workers', 'scaling', 'templateId')) return 'endpoints';
  if (has('imageName', 'isServerless', 'serverless', 'containerDiskInGb', 'volumeMountPath', 'image'))
    return 'templates';
  if (has('size', 'dataCenterId', 'dataCenter')) return 'networkVolumes';
  if (has('memory', 'pool', 'memoryInGb')) return 'gpus';
  throw notKnown(name);
}

function notKnown(name: string): MigrationError {
  return new MigrationError(
    'invalid_export',
    `${name} holds something that is neither an endpoint, a template, a network volume nor a GPU type.`,
    {
      hint: 'Export the answers of GET /v2/serverless, /v2/templates, /v2/network-volumes and /v2/catalog/gpus.',
    },
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
