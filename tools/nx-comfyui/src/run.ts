/** `nx run <endpoint>:run [--backend modal|runpod] [--target local|cloud] [--input name=value] [--out folder]`. */
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';

import { createComfyUIService } from '@ryla/business';
import { type EndpointDefinition, type InputValue, parseInputText } from '@ryla/workflow';
import { loadEndpoint } from '@ryla/workflow/node';

import { endpointDirectory, runProgram, WORKSPACE_ROOT } from './command-line.ts';
import { parseTarget } from './deployment-target.ts';
import { chooseBackend, RUN_BACKENDS, type RunBackend } from './run-backend.ts';

await runProgram(async () => {
  const { values, positionals } = parseArgs({
    options: {
      backend: { type: 'string', default: 'modal' },
      target: { type: 'string', default: 'local' },
      input: { type: 'string', multiple: true, default: [] },
      out: { type: 'string' },
    },
    allowPositionals: true,
  });
  const endpoint = loadEndpoint(endpointDirectory(positionals));
  const backend = parseBackend(values.backend);
  const { adapter, description } = chooseBackend({
    backend,
    target: parseTarget(values.target),
    config: endpoint.config,
    workspaceRoot: WORKSPACE_ROOT,
    env: process.env,
  });
  console.log(`Target: ${description}`);
  await using service = createComfyUIService({ adapters: { [backend]: adapter } });
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const result = await service.run(endpoint, inputsOf(endpoint, values.input), { signal: stop.signal });
  console.log(`Job: ${result.jobId}`);
  const folder = path.resolve(WORKSPACE_ROOT, values.out ?? 'out', endpoint.config.name, backend);
  for (const output of result.outputs) {
    console.log(`Saved: ${await output.save(path.join(folder, path.basename(output.name)))}`);
  }
});

/** Inputs from `name=value` pairs; the endpoint's defaults, its examples, fill the rest. */
function inputsOf({ config }: EndpointDefinition, pairs: readonly string[]): Record<string, InputValue> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new Error(`Write an input as name=value, not "${pair}".`);
      const name = pair.slice(0, at);
      return [name, parseInputText(config, name, pair.slice(at + 1))];
    }),
  );
}

function parseBackend(text: string): RunBackend {
  const found = RUN_BACKENDS.find((name) => name === text);
  if (found === undefined) throw new Error(`--backend is ${RUN_BACKENDS.join(' or ')}, not "${text}".`);
  return found;
}
