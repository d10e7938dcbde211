import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { createComfyUIService } from '@ryla/business';
import { memory } from '@ryla/business/testing';
import { compareBackends, type DecodedVideo, type UndecodedVideo } from '@ryla/migration';
import { parseApiWorkflow, parseEndpointConfig } from '@ryla/workflow';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { repositoryRoot } from '../../test-support/live-workspace.ts';
import { createVideoDecoder, videoProgram } from './video-frames.ts';

const REAL = videoProgram(repositoryRoot);
const endpoint = {
  config: parseEndpointConfig({ name: 'clip', title: 'Clip', inputs: {}, gpu: ['L4'] }),
  workflow: parseApiWorkflow({ '1': { class_type: 'SaveVideo', inputs: {} } }),
};
const never = new AbortController().signal;

/** Twenty grey frames of 32 x 16 that become lighter, one of them white, with half a second of silence in stereo. */
const MAKE_VIDEO = `
import io, sys, av
crf, odd = sys.argv[1:]
from fractions import Fraction
out = io.BytesIO()
with av.open(out, "w", format="mp4") as file:
    stream = file.add_stream("libx264", rate=10, options={"crf": crf})
    stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
    sound = file.add_stream("aac", rate=48000, layout="stereo")
    for n in range(20):
        frame = av.VideoFrame(32, 16, "rgb24")
        frame.planes[0].update(bytes([255 if n == int(odd) else 10 * n]) * frame.planes[0].buffer_size)
        frame.pts, frame.time_base = n, Fraction(1, 10)
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))
    for n in range(25):
        part = av.AudioFrame(format="fltp", layout="stereo", samples=960)
        for plane in part.planes:
            plane.update(bytes(plane.buffer_size))
        part.sample_rate, part.pts, part.time_base = 48000, n * 960, Fraction(1, 48000)
        file.mux(sound.encode(part))
    file.mux(sound.encode(None))
sys.stdout.buffer.write(out.getvalue())
`;

let folder = '';
let file: Uint8Array;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'video-frames-'));
  file = videoFile({});
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the real program', () => {
  it('gives frames and sound of a video', async () => {
    const video = decoded(await createVideoDecoder(REAL)(file, never));
    expect(video).toMatchObject({ codec: 'h264', width: 32, height: 16, frameRate: 10, frameCount: 20 });
    expect(video).toMatchObject({ hasAudio: true, frameWidth: 32, frameHeight: 16 });
    expect(video.seconds).toBeCloseTo(2, 3);
    expect(video.frames.map(({ seconds }) => seconds)).toEqual(
      Array.from({ length: 16 }, (_, n) => Math.round((n * 19) / 15) / 10),
    );
    for (const { seconds, data } of video.frames) {
      expect(data.length).toBe(32 * 16 * 4);
      expect(Math.abs((data[0] ?? 0) - seconds * 100)).toBeLessThan(6);
      expect(data[3]).toBe(255);
    }
    expect(video.sound?.sampleRate).toBe(48_000);
    expect(video.sound?.channels.length).toBe(2);
    expect(video.sound?.channels[1]?.every((sample) => sample === 0)).toBe(true);
  });

  it('tells a broken file from a decoder that has no time', async () => {
    const cut = undecoded(await createVideoDecoder(REAL)(file.subarray(0, 300), never));
    expect(cut.isBroken).toBe(true);
    expect(cut.reason).toMatch(/^It cannot be decoded: /);
    expect(undecoded(await createVideoDecoder({ ...REAL, seconds: 1e-9 })(file, never))).toEqual({
      isBroken: false,
      reason: 'Decoding took longer than 1e-09 s.',
    });
  });
});

describe('a comparison with the real program', () => {
  it.each([
    [
      'the same frames in other bytes',
      () => withFreeBox(file),
      'within-noise',
      'All 16 sampled frames are equal.',
    ],
    ['one other frame', () => videoFile({ white: 0 }), 'differs', 'most the one at 0.00 s.'],
    ['a broken file', () => file.subarray(0, 300), 'differs', 'The video of the new side cannot be decoded.'],
  ])('of %s', async (_, other, result, reason) => {
    const now = other();
    const makes = (bytes: Uint8Array) =>
      memory({
        outcome: { type: 'succeed', outputs: [{ nodeId: '1', name: 'v.mp4', kind: 'video', bytes }] },
      });
    await using service = createComfyUIService({ adapters: { old: makes(file), new: makes(now) } });
    const { pairs } = await compareBackends({
      ...{ service, endpoint, inputs: [{}], runs: 1, old: { backend: 'old' }, new: { backend: 'new' } },
      videoFrames: createVideoDecoder(REAL),
    });
    const pair = pairs.find(({ against }) => against === 'new');
    expect(pair?.result).toBe(result);
    expect(pair?.reasons.join(' ')).toContain(reason);
    expect(pairs.find(({ against }) => against === 'old-again')?.result).toBe('same');
  });
});

describe('without the program', () => {
  it.each([
    ['no Python', 'nowhere', /nowhere, which is not there: npm run setup\./],
    [
      'a Python without PyAV',
      "echo 'PyAV cannot be loaded (No module).' >&2; exit 4",
      /npm run setup installs/,
    ],
    ['a program that fails', "echo 'ValueError: odd' >&2; exit 1", /failed \(1\): ValueError: odd$/],
    ['an answer that is cut short', 'echo \'{"codec": "h264"\'', /incomplete answer/],
    ['what cannot be started', undefined, /failed \(.*\): spawn/],
  ])('%s is said', async (_, script, reason) => {
    const python = script === 'nowhere' ? path.join(folder, script) : pythonThat(script);
    const found = undecoded(await createVideoDecoder({ ...REAL, python })(file, never));
    expect(found.isBroken).toBe(false);
    expect(found.reason).toMatch(reason);
  });

  it('stops the program when it is aborted', async () => {
    const stop = new AbortController();
    const decoding = createVideoDecoder({ ...REAL, python: pythonThat('exec sleep 600') })(file, stop.signal);
    stop.abort(new Error('enough'));
    await expect(decoding).rejects.toThrow('enough');
  });
});

/** The same video with other bytes: players pass over a box of type free. */
function withFreeBox(mp4: Uint8Array): Uint8Array {
  return Buffer.concat([mp4, Buffer.from('\0\0\0\x0cfree....')]);
}

function videoFile({ crf = 10, white = -1 }): Uint8Array {
  return execFileSync(REAL.python, ['-c', MAKE_VIDEO, String(crf), String(white)]);
}

/** A program in Python's place; without a script one that cannot be started. */
function pythonThat(script: string | undefined): string {
  const python = path.join(folder, `python-${Math.random()}`);
  writeFileSync(python, script === undefined ? '' : `#!/bin/sh\n${script}\n`);
  chmodSync(python, script === undefined ? 0o644 : 0o755);
  return python;
}

function decoded(video: DecodedVideo | UndecodedVideo): DecodedVideo {
  if ('reason' in video) throw new Error(video.reason);
  return video;
}

function undecoded(video: DecodedVideo | UndecodedVideo): UndecodedVideo {
  if ('frames' in video) throw new Error('It was decoded.');
  return video;
}
