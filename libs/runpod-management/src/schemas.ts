/**
 * What RunPod's management API answers, restated from its OpenAPI document 2.0.0 as of 2026-11-24 for the parts used here.
 * What the document leaves optional is optional; a value of an enumeration that it does not name yet is let through.
 */
import { z } from 'zod';

import { EnvironmentVariables } from './environment-variables.ts';

const text = z.string();
const environment = z.record(text, text).transform((values) => new EnvironmentVariables(values));

const container = {
  image: text.optional(),
  args: text.optional(),
  disk: z.int().optional(),
  env: environment.optional(),
  ports: z.array(text).optional(),
  registry: text.nullish(),
};

const scaling = z.union([
  z.object({ type: z.literal('QUEUE_DELAY'), queueDelay: z.number() }),
  z.object({ type: z.literal('REQUEST_COUNT'), requestCount: z.number() }),
  z.looseObject({
    type: text.refine((type) => type !== 'QUEUE_DELAY' && type !== 'REQUEST_COUNT', 'lacks its value'),
  }),
]);

/** A serverless endpoint. `timeout` in milliseconds, `disk` in GB, `workers.idleTimeout` in seconds. */
export const endpoint = z.object({
  ...container,
  id: text.min(1),
  name: text,
  type: text.optional(),
  gpu: z
    .object({
      pools: z.array(text),
      excludedTypes: z.array(text).optional(),
      count: z.int().optional(),
      allowedCudaVersions: z.array(text),
      minCudaVersion: text.nullable(),
    })
    .nullish(),
  workers: z.object({ min: z.int(), max: z.int(), idleTimeout: z.int().optional() }),
  scaling,
  dataCenterIds: z.array(text),
  networkVolumes: z.array(text),
  timeout: z.int(),
  flashboot: text,
  createdAt: text,
});

/** A template: container settings to start from. */
export const template = z.object({
  ...container,
  id: text.min(1),
  name: text,
  image: text,
  env: environment,
  serverless: z.boolean(),
  public: z.boolean().optional(),
});

/** A network volume; `size` in GB. */
export const networkVolume = z.object({
  id: text.min(1),
  name: text,
  size: z.int(),
  dataCenter: text,
  type: text,
});

/** A pod, as far as it tells which template and which network volumes it needs. */
export const pod = z.object({
  id: text.min(1),
  name: text,
  template: text.nullish(),
  mounts: z.object({ network: z.array(z.object({ volumeId: text })).optional() }).nullish(),
});

/** A card of the catalogue. `price` in USD per hour for one card, `memory` in GB; no pool: not for serverless. */
export const gpuType = z.object({
  id: text,
  name: text,
  pool: text.nullable(),
  memory: z.number(),
  price: z.object({ secure: z.number(), community: z.number(), serverless: z.number().optional() }),
  availability: text.optional(),
});

/** How far a release has reached the workers, and the releases, newest first. */
export const releases = z.object({
  endpointVersion: z.int().nullish(),
  rollout: z.object({
    inProgress: z.boolean(),
    workersOnLatest: z.int(),
    workersTotal: z.int(),
    percentOnLatest: z.number(),
  }),
  releases: z.array(z.object({ id: text, version: z.int().nullish(), createdAt: text })),
});

const window = { startTime: text, endTime: text };
const serverlessAmounts = {
  totalAmount: z.number(),
  gpuAmount: z.number(),
  cpuAmount: z.number(),
  diskAmount: z.number(),
  feeAmount: z.number(),
};
const volumeAmounts = {
  totalAmount: z.number(),
  standardAmount: z.number(),
  highPerformanceAmount: z.number(),
};

/** What endpoints cost, in USD by bucket of time. */
export const serverlessBilling = z.object({
  records: z.array(z.object({ ...window, ...serverlessAmounts, serverlessId: text })),
  metadata: z.object({ totals: z.object(serverlessAmounts) }),
});

/** What network volumes cost, in USD by bucket of time. */
export const networkVolumeBilling = z.object({
  records: z.array(z.object({ ...window, ...volumeAmounts, networkVolumeId: text })),
  metadata: z.object({ totals: z.object(volumeAmounts) }),
});

/** The document's error answer. */
export const problem = z.object({
  title: text,
  status: z.number(),
  detail: text,
  errors: z.array(text).optional(),
});

/** A live endpoint. */
export type RunPodEndpoint = z.infer<typeof endpoint>;
/** A live template. */
export type RunPodTemplate = z.infer<typeof template>;
/** A live pod. */
export type RunPodPod = z.infer<typeof pod>;
/** A live network volume. */
export type RunPodNetworkVolume = z.infer<typeof networkVolume>;
/** A card of the catalogue. */
export type RunPodGpuType = z.infer<typeof gpuType>;
/** Releases of an endpoint. */
export type RunPodReleases = z.infer<typeof releases>;
/** Costs of endpoints. */
export type RunPodServerlessBilling = z.infer<typeof serverlessBilling>;
/** Costs of network volumes. */
export type RunPodNetworkVolumeBilling = z.infer<typeof networkVolumeBilling>;
/** How an endpoint is scaled: `queueDelay` in seconds, or requests in flight for each worker. */
export type RunPodScaling =
  | { readonly type: 'QUEUE_DELAY'; readonly queueDelay: number }
  | { readonly type: 'REQUEST_COUNT'; readonly requestCount: number };

/** Body of a PATCH: only what is in it changes, and `env` is replaced as a whole. */
export interface EndpointUpdate {
  readonly name?: string;
  readonly image?: string;
  readonly args?: string;
  readonly disk?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly registry?: string | null;
  readonly gpu?: {
    readonly pools: readonly string[];
    readonly excludedTypes?: readonly string[];
    readonly count: number;
  };
  readonly workers?: { readonly min: number; readonly max: number; readonly idleTimeout?: number };
  readonly scaling?: RunPodScaling;
  readonly dataCenterIds?: readonly string[];
  readonly networkVolumes?: readonly string[];
  readonly timeout?: number;
  readonly flashboot?: string;
}

/** Body of a POST. */
export interface EndpointCreation extends EndpointUpdate {
  readonly name: string;
  readonly image: string;
  readonly type: 'QUEUE';
  readonly scaling: RunPodScaling;
  readonly gpu: NonNullable<EndpointUpdate['gpu']>;
}
