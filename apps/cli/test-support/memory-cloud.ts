/** A cloud in memory, for what a deploy decides. */
import { ComfyUIServiceError } from '@ryla/business';
import { memory } from '@ryla/business/testing';

import type { Cloud, Deployed, LiveDeployment, Shipment } from '../src/deployment/cloud.ts';

/** What was done to a {@link memoryCloud}. */
export interface MemoryCloud extends Cloud {
  readonly versions: Map<string, LiveDeployment[]>;
  readonly done: string[];
  /** Endpoints whose deployments do not work. */
  readonly broken: Set<string>;
  /** Endpoints whose deploy fails. */
  readonly refusing: Set<string>;
  /** Endpoints of which it is recorded that their deployments work. */
  readonly accepted: string[];
  /** Makes something live as somebody else would. */
  put(endpoint: string, fingerprint: string | null, untried?: boolean): void;
}

/** Nothing is deployed on it. */
export function memoryCloud(): MemoryCloud {
  const versions = new Map<string, LiveDeployment[]>();
  const historyOf = (endpoint: string): LiveDeployment[] => versions.get(endpoint) ?? [];
  const add = (endpoint: string, fingerprint: string | null, untried = false): LiveDeployment => {
    const history = historyOf(endpoint);
    const made = { fingerprint, commit: null, version: `v${history.length + 1}`, untried };
    versions.set(endpoint, [...history, made]);
    return made;
  };
  const cloud: MemoryCloud = {
    provider: 'modal',
    environment: 'main',
    versions,
    done: [],
    broken: new Set(),
    refusing: new Set(),
    accepted: [],
    put: (endpoint, fingerprint, untried = false) => void add(endpoint, fingerprint, untried),
    managed: () => Promise.resolve([...versions.keys()]),
    live: (endpoint) => Promise.resolve(historyOf(endpoint).at(-1) ?? null),
    drift: () => Promise.resolve([]),
    refusal: () => Promise.resolve(undefined),
    deploy({ endpoint: { config }, fingerprint }: Shipment, before): Promise<Deployed> {
      if (cloud.refusing.has(config.name)) return Promise.reject(new Error('no room'));
      cloud.done.push(`deploy ${config.name}`);
      const { version } = add(config.name, fingerprint);
      const isBroken = cloud.broken.has(config.name);
      const error = new ComfyUIServiceError('node_execution_error', 'no such node');
      return Promise.resolve({
        version,
        url: `https://${config.name}.example`,
        adapter: () => memory(isBroken ? { outcome: { type: 'fail', error } } : {}),
        accept: () => {
          cloud.accepted.push(config.name);
          return Promise.resolve();
        },
        undo: () => {
          cloud.done.push(`undo ${config.name}`);
          if (before === null) versions.delete(config.name);
          else add(config.name, before.fingerprint);
          return Promise.resolve(before === null ? 'stopped' : `back to ${before.version ?? ''}`);
        },
      });
    },
    rollBack: () => Promise.reject(new Error('not here')),
    remove(endpoint) {
      cloud.done.push(`remove ${endpoint}`);
      versions.delete(endpoint);
      return Promise.resolve();
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  return cloud;
}
