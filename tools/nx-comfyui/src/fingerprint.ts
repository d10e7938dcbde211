/** `nx fingerprint <endpoint>`, `nx fingerprint-runpod <endpoint>`: the hash of what a deployment is made of, as one JSON line. */
import path from 'node:path';
import process from 'node:process';

import { endpointDirectory, runProgram } from './command-line.ts';
import { taskFingerprint } from './fingerprint-record.ts';

await runProgram(() => {
  const endpoint = path.basename(endpointDirectory(process.argv.slice(2)));
  console.log(JSON.stringify(taskFingerprint(endpoint, process.env)));
});
