/**
 * Whether a value is a record, by hand: every change of every job is checked, and zod takes 30 times as long for it. What
 * is refused here goes through the schema of record-codec.ts, which says what is wrong; a property test holds the two
 * together.
 */
import type { OutputKind } from '@ryla/workflow';

import type { JobRecord, StoredJobStatus, SubmissionState } from './job-record.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Every {@link StoredJobStatus}. */
export const STATUSES = [
  'queued',
  'running',
  'canceling',
  'succeeded',
  'failed',
  'canceled',
  'expired',
  'lost',
] as const satisfies readonly StoredJobStatus[];
/** Every {@link SubmissionState}. */
export const SUBMISSIONS = [
  'intended',
  'submitted',
  'unknown',
  'refused',
] as const satisfies readonly SubmissionState[];
/** Every {@link OutputKind}. */
export const KINDS = [
  'image',
  'video',
  'audio',
  'text',
  'file',
  'latent',
] as const satisfies readonly OutputKind[];

const isStatus = memberOf(STATUSES);
const isSubmission = memberOf(SUBMISSIONS);
const isKind = memberOf(KINDS);

/** Whether a value that came out of JSON is a record; fields of newer releases may be there too. */
export function isRecord(value: unknown): value is JobRecord {
  if (!isFields(value)) return false;
  const { providerRef, timings, metrics, cost, error, outputs, warnings, tags } = value;
  return (
    isText(value['id']) &&
    isNumber(value['version']) &&
    isTextOrNull(value['endpoint']) &&
    isText(value['backend']) &&
    isTextOrNull(value['routeKey']) &&
    isText(value['payloadHash']) &&
    isNumber(value['attempt']) &&
    isSubmission(value['submission']) &&
    (providerRef === null || isProviderRef(providerRef)) &&
    isStatus(value['status']) &&
    isNumber(value['createdAt']) &&
    isNumberOrNull(value['submittedAt']) &&
    isNumberOrNull(value['startedAt']) &&
    isNumberOrNull(value['finishedAt']) &&
    isNumberOrNull(value['resultExpiresAt']) &&
    isTimings(timings) &&
    (metrics === undefined || metrics === null || isMetrics(metrics)) &&
    (value['gpu'] === undefined || isTextOrNull(value['gpu'])) &&
    (cost === null || isCost(cost)) &&
    (error === null || isError(error)) &&
    Array.isArray(outputs) &&
    outputs.every(isOutput) &&
    Array.isArray(warnings) &&
    warnings.every(isText) &&
    isTextOrNull(value['webhookSecretHash']) &&
    isTextOrNull(value['traceparent']) &&
    Array.isArray(tags) &&
    tags.every(isText)
  );
}

function isProviderRef(value: unknown): boolean {
  return isFields(value) && Object.values(value).every(isText);
}

function isTimings(value: unknown): boolean {
  return (
    isFields(value) &&
    isNumberOrNull(value['queueMs']) &&
    isNumberOrNull(value['coldStartMs']) &&
    isNumberOrNull(value['executionMs']) &&
    isNumberOrNull(value['uploadMs']) &&
    isNumberOrNull(value['downloadMs'])
  );
}

function isMetrics(value: unknown): boolean {
  return (
    isFields(value) && isTextOrNull(value['gpu']) && FIGURES.every((name) => isNumberOrNull(value[name]))
  );
}

const FIGURES = [
  'queueMs',
  'bootMs',
  'modelLoadMs',
  'samplingMs',
  'encodeMs',
  'uploadMs',
  'peakMemoryBytes',
] as const;

function isCost(value: unknown): boolean {
  return (
    isFields(value) &&
    isNumber(value['usd']) &&
    typeof value['estimated'] === 'boolean' &&
    isTextOrNull(value['gpu']) &&
    isTextOrNull(value['pricesOf'])
  );
}

function isError(value: unknown): boolean {
  return (
    isFields(value) &&
    isText(value['code']) &&
    isText(value['message']) &&
    isTextOrNull(value['nodeId']) &&
    isTextOrNull(value['classType']) &&
    isTextOrNull(value['hint']) &&
    typeof value['retryable'] === 'boolean'
  );
}

function isOutput(value: unknown): boolean {
  return (
    isFields(value) &&
    isText(value['nodeId']) &&
    isText(value['name']) &&
    isKind(value['kind']) &&
    isText(value['contentType']) &&
    isNumberOrNull(value['size']) &&
    isTextOrNull(value['sha256']) &&
    // Whatever JSON it is.
    value['source'] !== undefined
  );
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): boolean {
  return typeof value === 'string';
}

function isTextOrNull(value: unknown): boolean {
  return value === null || typeof value === 'string';
}

function isNumber(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value);
}

function isNumberOrNull(value: unknown): boolean {
  return value === null || isNumber(value);
}

function memberOf(members: readonly unknown[]): (value: unknown) => boolean {
  const set = new Set(members);
  return (value) => set.has(value);
}
