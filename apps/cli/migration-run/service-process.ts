/**
 * One instance of an application in a run: a staged service that does what comes in on stdin and says on stdout what becomes of it.
 * `node service-process.ts <root of the workspace> <endpoint> …`; ends when stdin ends.
 */
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';

import { ComfyUIServiceError } from '@ryla/business';
import { createStagedService } from '@ryla/migration/service';

import { findWorkspace } from '../src/workspace.ts';
import { importedClient, type PictureClient } from './imported-client.ts';
import { judgedBySavedComparisons } from './saved-comparisons.ts';
import { type Answer, ask, type Ask, say } from './protocol.ts';

/** Small pictures in few steps: what is tested is where jobs go. */
const SIZE = { width: 256, height: 256, steps: 1 } as const;
const PNG = Uint8Array.of(0x89, 0x50, 0x4e, 0x47);

const [, , root = '', ...names] = process.argv;
const workspace = await findWorkspace('local', root);
const clients = new Map<string, PictureClient>();
for (const name of names) clients.set(name, await importedClient(path.join(root, 'apps/endpoints'), name));

const staged = await createStagedService(
  workspace,
  workspace.endpointNames().map((name) => workspace.endpoint(name).config),
  {
    shadow: { compare: await judgedBySavedComparisons(root) },
    judge: true,
    onStage: (endpoint, stage) => say({ type: 'stage', endpoint, stage, at: Date.now() }),
    onRollback: ({ endpoint, findings }) =>
      say({
        type: 'rollback',
        endpoint,
        reason: findings.map(({ message }) => message).join(' '),
        at: Date.now(),
      }),
    onProblem: (error) =>
      say({ type: 'problem', message: error instanceof Error ? error.message : String(error) }),
  },
);

async function done({ n, endpoint, prompt, seed }: Ask): Promise<Answer> {
  const said: Answer = {
    type: 'answer',
    n,
    jobId: null,
    backend: null,
    status: 'failed',
    bytes: 0,
    code: null,
  };
  try {
    const client = clients.get(endpoint);
    if (client === undefined) throw new Error(`There is no client of ${endpoint}.`);
    const at = Date.now();
    const handle = await staged.service.submit(
      client.endpoint,
      client.inputs.parse({ prompt, seed, ...SIZE }),
    );
    said.jobId = handle.id;
    said.backend = handle.backend;
    say({ type: 'submitted', n, jobId: handle.id, backend: handle.backend, at });
    const { outputs } = await handle.result();
    const bytes = await outputs[0]?.bytes();
    const isPicture = bytes !== undefined && PNG.every((byte, index) => bytes[index] === byte);
    return { ...said, status: 'succeeded', bytes: isPicture ? bytes.length : 0 };
  } catch (error) {
    const isKnown = ComfyUIServiceError.isInstance(error);
    if (!isKnown) say({ type: 'problem', message: String(error) });
    return { ...said, code: isKnown ? error.code : 'unexpected' };
  }
}

createInterface({ input: process.stdin })
  .on('line', (line) => void done(ask.parse(JSON.parse(line))).then(say))
  .on('close', () => void staged.service.close().then(() => process.exit(0)));
say({ type: 'ready' });
