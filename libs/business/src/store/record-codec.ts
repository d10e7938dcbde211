/** Between records and the JSON that databases keep of them. */
import { z } from 'zod';

import type { JobRecord, JsonValue } from './job-record.ts';
import { JobStoreError } from './store-error.ts';

const milliseconds = z.number().nullable();
const json: z.ZodType<JsonValue> = z.json();

// Loose objects: what a newer release wrote survives a change by this one.
const record: z.ZodType<JobRecord> = z.looseObject({
  id: z.string(),
  version: z.number(),
  endpoint: z.string().nullable(),
  backend: z.string(),
  routeKey: z.string().nullable(),
  payloadHash: z.string(),
  attempt: z.number(),
  submission: z.enum(['intended', 'submitted', 'unknown', 'refused']),
  providerRef: z.record(z.string(), z.string()).nullable(),
  status: z.enum(['queued', 'running', 'canceling', 'succeeded', 'failed', 'canceled', 'expired', 'lost']),
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
      kind: z.enum(['image', 'video', 'audio', 'text', 'file', 'latent']),
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
  return value.toWellFormed().replaceAll('\0', '\uFFFD');
}

/**
 * The JSON that is kept of a record, and the record as it will be read from it.
 *
 * @throws {JobStoreError} `invalid_argument` where a caller without types gave what no record holds.
 */
export function encodeRecord(job: JobRecord): { readonly text: string; readonly job: JobRecord } {
  const { cost } = job;
  const usd = cost === null ? 0 : Math.round(cost.usd * NANO) / NANO;
  const text = toJson(cost === null ? job : { ...job, cost: { ...cost, usd } });
  const checked = record.safeParse(JSON.parse(text));
  if (!checked.success)
    throw new JobStoreError(
      'invalid_argument',
      `Job ${job.id} cannot be stored like this:\n${z.prettifyError(checked.error)}`,
      { jobId: job.id, cause: checked.error },
    );
  return { text, job: checked.data };
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
  const checked = record.safeParse(value);
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
