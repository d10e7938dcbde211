/** `nx openapi <endpoint> [--out=<file>]`: the HTTP interface of an endpoint as OpenAPI, printed or written. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';

import { loadEndpoint } from '@ryla/workflow/node';

import { endpointDirectory, runProgram, WORKSPACE_ROOT } from './command-line.ts';
import { openapiFragment } from './generators/endpoint/openapi-fragment.ts';

await runProgram(() => {
  const { values, positionals } = parseArgs({ options: { out: { type: 'string' } }, allowPositionals: true });
  const { config } = loadEndpoint(endpointDirectory(positionals));
  const text = `${JSON.stringify(openapiFragment(config), null, 2)}\n`;
  if (values.out === undefined) process.stdout.write(text);
  else writeFileSync(path.resolve(WORKSPACE_ROOT, values.out), text);
});
