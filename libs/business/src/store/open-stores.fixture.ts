/**
 * A process of the store's tests: opens every file that it is told of at the moment that it is told, a line each
 * (`<milliseconds since 1970> <file>`), and says how that went.
 */
import { randomUUID } from 'node:crypto';
import process from 'node:process';
import { createInterface } from 'node:readline';

import { sqliteJobStore } from './sqlite-job-store.ts';

console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const [moment = '', file = ''] = line.split(/ (.*)/);
  // No timer is as exact as this.
  while (Date.now() < Number(moment));
  try {
    await using store = await sqliteJobStore({ path: file });
    await store.create({ id: randomUUID(), endpoint: null, backend: 'modal', payloadHash: 'h' });
    console.log('stored');
  } catch (error) {
    console.log(String(error));
  }
}
