/** A process of the store's tests: opens every file that it is told of, a line each, and says how that went. */
import { randomUUID } from 'node:crypto';
import process from 'node:process';
import { createInterface } from 'node:readline';

import { sqliteJobStore } from './sqlite-job-store.ts';

console.log('ready');
for await (const file of createInterface({ input: process.stdin })) {
  try {
    await using store = await sqliteJobStore({ path: file });
    await store.create({ id: randomUUID(), endpoint: null, backend: 'modal', payloadHash: 'h' });
    console.log('stored');
  } catch (error) {
    console.log(String(error));
  }
}
