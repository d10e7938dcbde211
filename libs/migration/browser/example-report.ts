/** A report of three endpoints whose jobs are scripted: one that may move, one that may not, one that nobody has touched. */
import type { EndpointDefinition } from '@ryla/workflow';

import { compareBackends } from '../src/compare/compare.ts';
import type { Comparison } from '../src/compare/comparison.ts';
import { hills, pictureFile } from '../src/compare/pictures.fixture.ts';
import { scriptedEndpoint, scriptedService } from '../src/compare/scripted-service.fixture.ts';
import { wavFile } from '../src/compare/sounds.fixture.ts';
import { createReport, type Report } from '../src/report/report.ts';
import { EXAMPLE_BILLS, exampleMigrations } from './example-migrations.ts';

const RUNS = 34;

/** What a stranger may put into a prompt. */
const HOSTILE = `</script><script>globalThis.alerted = 1</script><img src=x onerror="globalThis.alerted = 2">`;

/** How the new side of an endpoint is. */
interface Change {
  readonly slower: number;
  /** Jobs of so many that make another picture; 0 for none. */
  readonly another: number;
  readonly idleSeconds: number;
}

/** Makes it. */
export async function exampleReport(): Promise<Report> {
  const comparisons = [
    await compared('flux-schnell', { slower: 1, another: 0, idleSeconds: 8 }, 60_000),
    await compared('z-image-turbo', { slower: 1.8, another: 9, idleSeconds: 60 }, 4_000),
  ];
  return createReport({
    comparisons,
    migrations: await exampleMigrations(),
    bills: EXAMPLE_BILLS,
    volumes: {
      'flux-schnell': { jobsPerMonth: 60_000, hoursPerDay: 16 },
      'z-image-turbo': { jobsPerMonth: 4_000, hoursPerDay: 16 },
    },
    title: 'RunPod to Modal',
    createdAt: new Date('2026-11-25T12:00:00Z'),
  });
}

async function compared(
  name: string,
  { slower, another, idleSeconds }: Change,
  jobsPerMonth: number,
): Promise<Comparison> {
  const endpoint: EndpointDefinition<{ readonly seed?: number; readonly prompt?: string }, 'picture'> = {
    ...scriptedEndpoint,
    config: { ...scriptedEndpoint.config, name },
  };
  return compareBackends({
    service: scriptedService(async (backend, nth, { seed }) => {
      const isNew = backend.startsWith('modal');
      const isAnother = isNew && another > 0 && nth % another === 0;
      const landscape = hills(Number(seed) + (isAnother ? 5 : 0), 2, nth % 7);
      return {
        executionMs: Math.round((2_500 + ((nth * 389) % 600)) * (isNew ? slower : 1.04)),
        coldStartMs: nth % 17 === 0 ? 11_000 + 300 * (nth % 5) : 0,
        outputs: [
          ['picture_00001_.png', await pictureFile('png', 480, 320, landscape)],
          ['sound_00001_.wav', wavFile([330, isAnother ? 523 : 440], 1, 0.4 + 0.01 * (nth % 3)), 'audio'],
        ],
      };
    }),
    endpoint,
    inputs: Array.from({ length: RUNS }, (_, seed) => ({ seed, prompt: `a hill ${HOSTILE}` })),
    old: { backend: `runpod:${name}`, gpu: 'L40S', idleSeconds: 5 },
    new: { backend: `modal:${name}`, gpu: 'L40S', idleSeconds },
    runs: RUNS,
    volume: { jobsPerMonth, hoursPerDay: 16 },
    determinism: { class: 'cpu-noise', why: 'Noise is drawn on the CPU.' },
    clock: risingClock(),
  });
}

/** A second for each look. */
function risingClock(): { now(): number } {
  let now = Date.UTC(2026, 10, 25, 12);
  return { now: () => (now += 1_000) };
}
