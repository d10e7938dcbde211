/** `nx fingerprint <endpoint>`: prints the hash of what a deployment is made of, as one JSON line. */
import path from 'node:path';
import process from 'node:process';

import { endpointDirectory, runProgram } from './command-line.ts';
import { taskFingerprint, writeFingerprint } from './fingerprint-record.ts';

await runProgram(() => {
  const directory = endpointDirectory(process.argv.slice(2));
  const record = taskFingerprint(path.basename(directory), process.env);
  writeFingerprint(directory, record);
  console.log(JSON.stringify(record));
});
