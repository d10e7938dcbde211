/** Rows of the tables that the databases have alike. */
import type { Delivery, StateEntry } from './job-store.ts';
import { parseJson } from './record-codec.ts';
import { JobStoreError } from './store-error.ts';

type Row = Readonly<Record<string, unknown>>;

/** A value of the key-value state. */
export function toState(row: Row): StateEntry {
  return {
    key: String(row['key']),
    value: parseJson(String(row['value'])),
    version: Number(row['version']),
  };
}

/**
 * A message of the outbox.
 *
 * @throws {JobStoreError} `store_corrupt`.
 */
export function toDelivery(row: Row): Delivery {
  const { last_error: lastError } = row;
  const state = String(row['state']);
  if (state !== 'pending' && state !== 'delivered' && state !== 'dead')
    throw new JobStoreError('store_corrupt', `A stored delivery has the state ${JSON.stringify(state)}.`);
  return {
    id: String(row['id']),
    jobId: String(row['job_id']),
    url: String(row['url']),
    payload: String(row['payload']),
    state,
    attempts: Number(row['attempts']),
    nextAttemptAt: Number(row['next_attempt_at']),
    createdAt: Number(row['created_at']),
    lastError: typeof lastError === 'string' ? lastError : null,
  };
}
