/** Which endpoints a deploy looks at. The fingerprint decides what is deployed. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { type Provider, PROVIDERS } from '@ryla/business/config';
import { listEndpoints } from '@ryla/workflow/node';

import { UsageError } from '../exit-codes.ts';
import { endpointsAt, type GitRange } from './git-range.ts';

/** What was asked for. */
export type Selection =
  | { readonly kind: 'named'; readonly names: readonly string[] }
  | { readonly kind: 'all' }
  | { readonly kind: 'affected'; readonly range: GitRange };

/** Where endpoints are. */
export interface EndpointFolder {
  /** Root of the workspace. */
  readonly root: string;
  /** Absolute folder of the endpoints' folders. */
  readonly folder: string;
  readonly provider: Provider;
}

/** Endpoints of the repository that a provider has, sorted. */
export function endpointsFor({ folder, provider }: EndpointFolder): string[] {
  if (!existsSync(folder)) return [];
  return listEndpoints(folder).filter((name) => deploysTo(path.join(folder, name), provider));
}

/** Endpoints that a deploy looks at, before Nx narrows them down to the affected ones. */
export function candidatesOf(selection: Selection, place: EndpointFolder): string[] {
  if (selection.kind !== 'named') return endpointsFor(place);
  const known = existsSync(place.folder) ? listEndpoints(place.folder) : [];
  for (const name of selection.names) {
    if (!known.includes(name))
      throw new UsageError(`There is no endpoint "${name}". There are: ${known.join(', ') || 'none'}.`);
  }
  return [...new Set(selection.names)];
}

/** An endpoint that is live and not in the repository. */
export interface Deleted {
  readonly name: string;
  /** Whether the base of an affected selection had it: it is ours then, whatever is live of it. */
  readonly wasInBase: boolean;
}

/** Endpoints that may have to be undeployed: live, and not in the repository for this provider. */
export async function deletedEndpoints(
  selection: Selection,
  place: EndpointFolder,
  live: readonly string[],
): Promise<Deleted[]> {
  if (selection.kind === 'named') return [];
  const now = new Set(endpointsFor(place));
  const gone = live.filter((name) => !now.has(name)).sort();
  if (gone.length === 0) return [];
  const before =
    selection.kind === 'affected' && selection.range.base !== null
      ? await endpointsAt(place.root, selection.range.base, path.relative(place.root, place.folder))
      : [];
  return gone.map((name) => ({ name, wasInBase: before.includes(name) }));
}

/** `providers` of an endpoint.json names the clouds that it is on; all where it names none. A broken file is reported later. */
function deploysTo(directory: string, provider: Provider): boolean {
  try {
    const config: unknown = JSON.parse(readFileSync(path.join(directory, 'endpoint.json'), 'utf8'));
    if (typeof config !== 'object' || config === null || !('providers' in config)) return true;
    const { providers } = config;
    if (typeof providers !== 'object' || providers === null) return true;
    return provider in providers || !PROVIDERS.some((each) => each in providers);
  } catch {
    return true;
  }
}
