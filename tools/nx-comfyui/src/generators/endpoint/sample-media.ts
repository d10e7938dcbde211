/** Small files to try an endpoint with, made here: nobody's work, the same every time. */
import { crc32, deflateSync } from 'node:zlib';

import type { EndpointInput } from '@ryla/workflow';

/** A file to try an input with. */
export interface Sample {
  /** Name beside endpoint.json. */
  readonly name: string;
  readonly bytes: Buffer;
}

/** Pixels of a side: what every node that scales or encodes accepts. */
const SIDE = 256;

/** A sample for a type of input; `undefined` for videos, which cannot be made here. */
export function sampleFor(type: EndpointInput['type']): Sample | undefined {
  if (type === 'image' || type === 'mask') return { name: 'sample.png', bytes: samplePicture() };
  return type === 'audio' ? { name: 'sample.wav', bytes: sampleSound() } : undefined;
}

/** A PNG of 256 × 256 pixels: red grows to the right, green downwards, over blue. */
function samplePicture(): Buffer {
  const rows = Buffer.alloc(SIDE * (1 + SIDE * 3));
  for (let y = 0; y < SIDE; y += 1) {
    const row = y * (1 + SIDE * 3);
    // Filter 1 (Sub): each pixel as its difference from the one before, which is small to keep.
    rows[row] = 1;
    rows.set([0, y, 128], row + 1);
    for (let x = 1; x < SIDE; x += 1) rows[row + 1 + x * 3] = 1;
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(SIDE, 0);
  header.writeUInt32BE(SIDE, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Buffer): Buffer {
  const content = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(content));
  return Buffer.concat([length, content, check]);
}

const RATE = 8000;

/** A WAV of one second: 440 Hz, one channel of 16 bits, 8,000 times a second. */
function sampleSound(): Buffer {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0, 'latin1');
  header.writeUInt32LE(36 + RATE * 2, 4);
  header.write('WAVEfmt ', 8, 'latin1');
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(RATE, 24);
  header.writeUInt32LE(RATE * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36, 'latin1');
  header.writeUInt32LE(RATE * 2, 40);
  const samples = Buffer.alloc(RATE * 2);
  for (let at = 0; at < RATE; at += 1)
    samples.writeInt16LE(Math.round(8000 * Math.sin((2 * Math.PI * 440 * at) / RATE)), at * 2);
  return Buffer.concat([header, samples]);
}
