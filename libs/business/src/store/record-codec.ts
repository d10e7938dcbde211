/** Between records and the JSON that databases keep of them. */
import { z } from 'zod';

import type { JobRecord, JsonValue } from './job-record.ts';
import { isRecord, KINDS, STATUSES, SUBMISSIONS } from './record-guard.ts';
import { JobStoreError } from './store-error.ts';

const milliseconds = z.number().nullable();
const json: z.ZodType<JsonValue> = z.json();

/** The form of a record. Loose objects: what a newer release wrote survives a change by this one. */
export const recordSchema: z.ZodType<JobRecord> = z.looseObject({
  id: z.string(),
  version: z.number(),
  endpoint: z.string().nullable(),
  backend: z.string(),
  routeKey: z.string().nullable(),
  payloadHash: z.string(),
  attempt: z.number(),
  submission: z.enum(SUBMISSIONS),
  providerRef: z.record(z.string(), z.string()).nullable(),
  status: z.enum(STATUSES),
  createdAt: z.number(),
  submittedAt: milliseconds,
  startedAt: milliseconds,
  finishedAt: milliseconds,
  resultExpiresAt: milliseconds,
  timings: z.looseObject({
    queueMs: milliseconds,
    coldStartMs: milliseconds,
    executionMs: milliseconds,
    uploadMs: milliseconds,
    downloadMs: milliseconds,
  }),
  metrics: z
    .looseObject({
      queueMs: milliseconds,
      bootMs: milliseconds,
      modelLoadMs: milliseconds,
      samplingMs: milliseconds,
      encodeMs: milliseconds,
      uploadMs: milliseconds,
      gpu: z.string().nullable(),
      peakMemoryBytes: z.number().nullable(),
    })
    .nullable()
    .exactOptional(),
  gpu: z.string().nullable().exactOptional(),
  cost: z
    .looseObject({
      usd: z.number(),
      estimated: z.boolean(),
      gpu: z.string().nullable(),
      pricesOf: z.string().nullable(),
    })
    .nullable(),
  error: z
    .looseObject({
      code: z.string(),
      message: z.string(),
      nodeId: z.string().nullable(),
      classType: z.string().nullable(),
      hint: z.string().nullable(),
      retryable: z.boolean(),
    })
    .nullable(),
  outputs: z.array(
    z.looseObject({
      nodeId: z.string(),
      name: z.string(),
      kind: z.enum(KINDS),
      contentType: z.string(),
      size: z.number().nullable(),
      sha256: z.string().nullable(),
      source: json,
    }),
  ),
  warnings: z.array(z.string()),
  webhookSecretHash: z.string().nullable(),
  traceparent: z.string().nullable(),
  tags: z.array(z.string()),
});

/** JSON of a value, without what PostgreSQL cannot keep: NUL and lone surrogates become U+FFFD. */
export function toJson(value: unknown): string {
  const text = JSON.stringify(value);
  // Text that only looks like such an escape takes the slow way too, and comes out unchanged.
  return /\\u(?:0000|d[89a-f])/.test(text) ? JSON.stringify(value, storable) : text;
}

function storable(_key: string, value: unknown): unknown {
  return typeof value === 'string' ? storableText(value) : value;
}

/** A text without NUL and lone surrogates. */
export function storableText(value: string): string {
  const text = value.isWellFormed() ? value : value.toWellFormed();
  return text.includes('\0') ? text.replaceAll('\0', '\uFFFD') : text;
}

/**
 * The JSON that is kept of a record, and the record as it will be read from it.
 *
 * @throws {JobStoreError} `invalid_argument` where a caller without types gave what no record holds.
 */
export function encodeRecord(job: JobRecord): { readonly text: string; readonly job: JobRecord } {
  const text = toJson(withWholeCost(job));
  return { text, job: checkStorable(JSON.parse(text), job.id) };
}

/**
 * A record as {@link encodeRecord} gives it, without its text.
 *
 * @param foreign an object whose keys name what the store does not have already: an intent or a patch.
 * @throws {JobStoreError} as {@link encodeRecord}.
 */
export function copyRecord(job: JobRecord, foreign: object): JobRecord {
  const copy: Record<string, unknown> = { ...withWholeCost(job) };
  for (const name of Object.keys(foreign)) if (name in copy) copy[name] = storableValue(copy[name]);
  return checkStorable(copy, job.id);
}

function storableValue(value: unknown): unknown {
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'string') return storableText(value);
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (Array.isArray(value) && value.length === 0) return [];
  return value === undefined ? undefined : JSON.parse(toJson(value));
}

/** Costs are kept to {@link NANO}. */
function withWholeCost(job: JobRecord): JobRecord {
  const { cost } = job;
  return cost === null ? job : { ...job, cost: { ...cost, usd: Math.round(cost.usd * NANO) / NANO } };
}

function checkStorable(value: unknown, jobId: string): JobRecord {
  if (isRecord(value)) return value;
  const checked = recordSchema.safeParse(value);
  if (checked.success) return checked.data;
  throw new JobStoreError(
    'invalid_argument',
    `Job ${jobId} cannot be stored like this:\n${z.prettifyError(checked.error)}`,
    { jobId, cause: checked.error },
  );
}

/** A record from its JSON. */
export function decodeRecord(text: string): JobRecord {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new JobStoreError('store_corrupt', 'A stored job is not JSON.', { cause });
  }
  return checkRecord(value);
}

/** Checks that a value is a record. */
export function checkRecord(value: unknown): JobRecord {
  if (isRecord(value)) return value;
  const checked = recordSchema.safeParse(value);
  if (!checked.success)
    throw new JobStoreError(
      'store_corrupt',
      `A stored job does not have its form:\n${z.prettifyError(checked.error)}`,
      { cause: checked.error },
    );
  return checked.data;
}

/** JSON that a database gave back. */
export function parseJson(text: string): JsonValue {
  return json.parse(JSON.parse(text));
}

/** Parts of a dollar that costs are summed in, so that the sum does not depend on the order. */
export const NANO = 1_000_000_000;
