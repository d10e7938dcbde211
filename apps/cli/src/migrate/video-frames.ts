/** Frames of videos, decoded by the workspace's Python program `libs/video-frames`. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import type { DecodedAudio, DecodedVideo, UndecodedVideo, VideoDecoder } from '@ryla/migration';
import { z } from 'zod';

/** What runs the program, and for how long. */
export interface VideoProgram {
  readonly python: string;
  readonly program: string;
  /** Seconds for one video. */
  readonly seconds: number;
}

/** The exit status of the program for what is no video, and for what it cannot decode here. */
const UNDECODABLE = 3;
const NOT_HERE = 4;

/** Seconds that Python may take to start and to answer, beside those that it gives itself. */
const MARGIN_SECONDS = 30;

/** Bytes of an answer: 16 frames of 512 x 512 and 128 MiB of sound are 141 MiB. */
const MAXIMUM_ANSWER = 256 * 1024 * 1024;

const count = z.number().int().nonnegative();
const positive = z.number().int().positive();

const answerHeader = z.object({
  codec: z.string(),
  width: positive,
  height: positive,
  seconds: z.number().nonnegative(),
  frame_rate: z.number().nonnegative(),
  frame_count: positive,
  has_audio: z.boolean(),
  frames: z.object({ width: positive, height: positive, seconds: z.array(z.number()).min(1) }),
  sound: z.object({ sample_rate: positive, channels: positive, samples: count }).nullable(),
});

/** The program of a workspace and its Python. */
export function videoProgram(root: string): VideoProgram {
  return {
    python: path.join(root, '.venv/bin/python'),
    program: path.join(root, 'libs/video-frames/src/video_frames.py'),
    seconds: 60,
  };
}

/** Runs the program for each video. Without Python it says so, once for each video, and never fails. */
export function createVideoDecoder(program: VideoProgram): VideoDecoder {
  return async (bytes, signal) => {
    signal.throwIfAborted();
    const missing = [program.python, program.program].find((file) => !existsSync(file));
    if (missing !== undefined)
      return notHere(`Videos are decoded by ${missing}, which is not there: npm run setup.`);
    const { status, out, said } = await runProgram(program, bytes, signal);
    signal.throwIfAborted();
    const last = said.trim().split('\n').at(-1) ?? '';
    if (status === 0) return readAnswer(out) ?? notHere('The decoder of videos gave an incomplete answer.');
    if (status === UNDECODABLE) return { isBroken: true, reason: last };
    if (status === NOT_HERE)
      return notHere(`${last}${/PyAV/.test(last) ? ' npm run setup installs it.' : ''}`);
    return notHere(`The decoder of videos failed (${status ?? 'stopped'}): ${last}`);
  };
}

function notHere(reason: string): UndecodedVideo {
  return { isBroken: false, reason };
}

interface Ended {
  /** `null` where it was stopped. */
  readonly status: number | null;
  readonly out: Buffer;
  readonly said: string;
}

function runProgram(
  { python, program, seconds }: VideoProgram,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<Ended> {
  const child = spawn(python, ['-I', program, '-', '--seconds', String(seconds)], {
    env: process.env,
    stdio: ['pipe', 'pipe', 'pipe'],
    signal,
    // It holds nothing but memory: there is nothing to clean up.
    killSignal: 'SIGKILL',
    timeout: Math.ceil((seconds + MARGIN_SECONDS) * 1_000),
  });
  const chunks: Buffer[] = [];
  let size = 0;
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAXIMUM_ANSWER) child.kill('SIGKILL');
    else chunks.push(chunk);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-10_000);
  });
  // A program that ends early does not read the rest; its status says why.
  child.stdin.on('error', () => undefined);
  child.stdin.end(bytes);
  return new Promise((resolve) => {
    child.on('error', ({ message }) => {
      said += `${message}\n`;
    });
    child.once('close', (status) => {
      resolve({ status, out: Buffer.concat(chunks), said });
    });
  });
}

/** Undefined for what is no whole answer. */
function readAnswer(out: Buffer): DecodedVideo | undefined {
  const end = out.indexOf('\n');
  const read = answerHeader.safeParse(jsonOf(out.subarray(0, Math.max(0, end)).toString()));
  if (!read.success) return undefined;
  const { frames, sound, ...facts } = read.data;
  const frameBytes = frames.width * frames.height * 3;
  const soundStart = end + 1 + frames.seconds.length * frameBytes;
  const soundBytes = sound === null ? 0 : sound.channels * sound.samples * 4;
  if (out.length !== soundStart + soundBytes) return undefined;
  return {
    codec: facts.codec,
    width: facts.width,
    height: facts.height,
    seconds: facts.seconds,
    frameRate: facts.frame_rate,
    frameCount: facts.frame_count,
    hasAudio: facts.has_audio,
    frameWidth: frames.width,
    frameHeight: frames.height,
    frames: frames.seconds.map((seconds, index) => {
      const start = end + 1 + index * frameBytes;
      return { seconds, data: withAlpha(out.subarray(start, start + frameBytes)) };
    }),
    sound:
      sound === null
        ? undefined
        : { sampleRate: sound.sample_rate, channels: channelsOf(out.subarray(soundStart), sound) },
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function withAlpha(rgb: Uint8Array): Uint8Array {
  const data = new Uint8Array((rgb.length / 3) * 4).fill(255);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4)
    for (let channel = 0; channel < 3; channel += 1) data[to + channel] = rgb[from + channel] ?? 0;
  return data;
}

function channelsOf(
  bytes: Buffer,
  { channels, samples }: { readonly channels: number; readonly samples: number },
): DecodedAudio['channels'] {
  // A copy, because floats must begin at a multiple of four.
  const { buffer } = new Uint8Array(bytes);
  return Array.from({ length: channels }, (_, at) => new Float32Array(buffer, at * samples * 4, samples));
}
