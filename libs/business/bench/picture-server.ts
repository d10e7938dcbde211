/** Serves a picture of 10 MiB, alone, as Modal's job and in RunPod's JSON, for picture.bench.ts; ends with its standard input. */
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import process from 'node:process';

const SIZE = 10 * 1024 * 1024;
const picture = randomBytes(SIZE);
const file = { filename: 'a.png', type: 'base64', data: picture.toString('base64'), nodeId: '2', size: SIZE };
const envelope = Buffer.from(JSON.stringify({ id: 'j', status: 'COMPLETED', output: { images: [file] } }));
const output = {
  node_id: '2',
  name: 'a.png',
  type: 'image',
  content_type: 'image/png',
  size_bytes: SIZE,
  id: 'o',
  url: '/o',
};
const job = JSON.stringify({ job: { id: 'j', status: 'succeeded', outputs: [output] } });

// Longer than the client collects its garbage.
const server = createServer({ keepAliveTimeout: 60_000 }, (incoming, response) => {
  const path = incoming.url ?? '';
  if (path.includes('/status/')) response.writeHead(200, { 'content-length': envelope.length }).end(envelope);
  else if (path.endsWith('/jobs/j')) response.writeHead(200).end(job);
  else response.writeHead(200, { 'content-length': SIZE }).end(picture);
}).listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(`http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`);
});
process.stdin.on('end', () => process.exit());
process.stdin.resume();
