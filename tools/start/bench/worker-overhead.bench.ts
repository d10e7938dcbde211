/**
 * What our worker adds to a picture, on one ComfyUI (comfy-sim, or that of COMFYUI_URL or COMFYUI_DIR). The peer is
 * worker-comfyui's unmodified handler where WORKER_COMFYUI_DIR names a checkout of its repository, otherwise a bare client.
 */
import { execFile } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

import { z } from 'zod';

import { pythonEnvironment } from '../src/python-environment.ts';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');

const figures = z.object({ p50: z.number(), added: z.number() });
const entry = z.object({
  case: z.string(),
  bare: figures,
  worker: figures,
  handler: figures,
  'worker-comfyui': figures.optional(),
});

/** Milliseconds at the median: of the library beside a bare client, and of the RunPod handler beside the peer's. */
export async function run(): Promise<
  { name: string; ours: number; peer: number; peerName: string; ratio: number; unit: string }[]
> {
  const { python } = pythonEnvironment(workspaceRoot);
  const { stdout } = await promisify(execFile)(python, ['bench/overhead.py'], {
    cwd: path.join(workspaceRoot, 'apps/runpod'),
    env: process.env,
    maxBuffer: 1 << 24,
  });
  return stdout
    .trim()
    .split('\n')
    .flatMap((line) => {
      const {
        case: name,
        bare,
        worker,
        handler,
        'worker-comfyui': community,
      } = entry.parse(JSON.parse(line));
      const peer = community ?? bare;
      return [
        result(`picture ${name}, worker`, worker.p50, bare.p50, 'a bare client'),
        result(
          `picture ${name}, RunPod handler`,
          handler.p50,
          peer.p50,
          community === undefined ? 'a bare client' : 'worker-comfyui',
        ),
      ];
    });
}

function result(
  name: string,
  ours: number,
  peer: number,
  peerName: string,
): { name: string; ours: number; peer: number; peerName: string; ratio: number; unit: string } {
  return { name, ours, peer, peerName, ratio: ours / peer, unit: 'ms' };
}
