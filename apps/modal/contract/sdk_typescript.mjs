// A photo job end to end by the official TypeScript SDK, unchanged. Prints what was checked, one line each.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import process from 'node:process';

import { Comfy } from '@comfyorg/sdk';

const [endpoint] = process.argv.slice(2);
const client = new Comfy({ apiKey: process.env.COMFY_API_KEY });

function check(what, condition) {
  assert.ok(condition, what);
  console.log(what);
}

async function refused(what, code, call) {
  await assert.rejects(call, (error) => error.code === code, what);
  console.log(`${what}: ${code}`);
}

const workflow = await client.workflows.fromFile(`${endpoint}/workflow.json`);
workflow.setInput('1', 'image', client.assets.fromFile(`${endpoint}/photo.jpg`));
const job = await client.submit(workflow, { idempotencyKey: 'contract-typescript' });
const events = [];
for await (const event of job.events()) events.push(event);
check('events end with the job', events.at(-1).status === 'succeeded');
check(
  'an output is announced',
  events.some((event) => event.kind.startsWith('output')),
);
await job.result();
const picture = await job.getOutputs('8')[0].toBytes();
check('the picture is a PNG', Buffer.from(picture).subarray(1, 4).toString() === 'PNG');
check('a job is found by its id', (await client.jobs.get(job.id)).status === 'succeeded');
check('its workflow', (await job.getWorkflow()).format === 'api');
check('cancel after the end changes nothing', (await job.cancel()).status === 'succeeded');
const again = client.assets.fromBytes(await readFile(`${endpoint}/photo.jpg`), { filename: 'photo.jpg' });
await again.commit();
check('known bytes are not uploaded again', again.createdNew === false);
await again.delete();
await refused('a reused key', 'idempotency_key_reuse', () =>
  client.submit(workflow, { idempotencyKey: 'contract-typescript' }),
);
await refused('a job', 'not_found', () => client.jobs.get('00000000-0000-4000-8000-000000000000'));
const broken = client.workflows.fromJson({ 1: { class_type: 'NoSuchNode', inputs: {} } });
await refused('a workflow', 'invalid_workflow', () => client.submit(broken));
