/** A service process on a shared store: submits all the time, and prints `<milliseconds since 1970> <backend>` for every job. */
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

import { createComfyUIService, sqliteJobStore } from '@ryla/business';
import { memory } from '@ryla/business/testing';

import { parseMigrationFile } from '../file/migration-file.ts';
import { fileText, NEW, OLD, picture } from './endpoint.fixture.ts';
import { stagedRoutes } from './staged-routes.ts';

const [, , file = ''] = process.argv;
const store = await sqliteJobStore({ path: file });
const service = createComfyUIService({ adapters: { [OLD]: memory(), [NEW]: memory() }, store });
await using _ = await stagedRoutes(service, store, parseMigrationFile(fileText('live')));
let isOver = false;
process.stdin.on('end', () => {
  isOver = true;
});
process.stdin.resume();
while (!isTrue(isOver)) {
  const now = Date.now();
  const { backend } = await service.submit(picture, {});
  console.log(`${now} ${backend}`);
  await sleep(20);
}
await service.close();

function isTrue(value: boolean): boolean {
  return value;
}
