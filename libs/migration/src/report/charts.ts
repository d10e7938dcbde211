/** Charts of one comparison. */
import type { TopLevelSpec } from 'vega-lite';

import type { ComparedJob, Comparison, NoiseFloor } from '../compare/comparison.ts';
import { floorOf } from '../compare/noise-floor.ts';
import { type Chart, CONFIG, sideColour, svgOf } from './drawing.ts';
import { outputName } from './figures.ts';

/** Width of the drawing in pixels: with its axis it fits a phone of 360. */
const WIDTH = 270;
const HEIGHT = 170;
const DISTANCES_HEIGHT = 120;

/** Charts of one comparison; those without data are left out. */
export async function charts(comparison: Comparison): Promise<readonly Chart[]> {
  const made = [latencyDistribution(comparison), latencySeries(comparison), ...distances(comparison)];
  const drawn = [];
  for (const chart of made) {
    if (chart === undefined) continue;
    const { title, caption, spec } = chart;
    drawn.push({ title, caption, svg: await svgOf(spec) });
  }
  return drawn;
}

interface Plan {
  readonly title: string;
  readonly caption: string;
  readonly spec: TopLevelSpec;
}

function latencyDistribution({ jobs }: Comparison): Plan | undefined {
  const warm = jobs.filter(({ start }) => start === 'warm');
  const shown = warm.length > 0 ? warm : jobs;
  const values = shown.flatMap((job) =>
    job.totalMs === null ? [] : { side: sideOf(job), seconds: job.totalMs / 1_000 },
  );
  if (values.length === 0) return undefined;
  return {
    title: warm.length > 0 ? 'How long warm jobs take' : 'How long jobs take',
    caption: 'Share of jobs that are done within so many seconds. Further left is faster.',
    spec: {
      ...base(values),
      mark: { type: 'line', interpolate: 'step-after', strokeWidth: 2 },
      transform: [
        {
          window: [{ op: 'cume_dist', as: 'share' }],
          sort: [{ field: 'seconds' }],
          groupby: ['side'],
        },
      ],
      encoding: {
        x: { field: 'seconds', type: 'quantitative', title: 'seconds', scale: { zero: false } },
        y: { field: 'share', type: 'quantitative', title: 'share of jobs', axis: { format: '.0%' } },
        color: sideColour(),
      },
    },
  };
}

function latencySeries({ jobs }: Comparison): Plan | undefined {
  const first = Math.min(...jobs.map(({ startedAt }) => startedAt));
  const values = jobs.flatMap((job) =>
    job.totalMs === null
      ? []
      : {
          side: sideOf(job),
          start: job.start === 'cold' ? 'cold' : 'warm',
          minutes: (job.startedAt - first) / 60_000,
          seconds: job.totalMs / 1_000,
        },
  );
  if (values.length === 0) return undefined;
  return {
    title: 'Jobs over the time of the comparison',
    caption: 'Each job when it was sent, in random order; triangles had to wait for a worker to start.',
    spec: {
      ...base(values),
      mark: { type: 'point', size: 34, opacity: 0.8 },
      encoding: {
        x: { field: 'minutes', type: 'quantitative', title: 'minutes since the start' },
        y: { field: 'seconds', type: 'quantitative', title: 'seconds' },
        color: sideColour(),
        shape: {
          field: 'start',
          type: 'nominal',
          legend: null,
          scale: { domain: ['warm', 'cold'], range: ['circle', 'triangle-up'] },
        },
      },
    },
  };
}

/** Outputs whose distances are drawn; the raw data have the others. */
const MOST_OUTPUTS = 4;

/** One chart for each output that has a noise floor, as far as anything differs. */
function distances({ pairs, floors }: Comparison): readonly Plan[] {
  return floors.slice(0, MOST_OUTPUTS).flatMap((floor) => {
    const own = pairs.filter((pair) => floorOf([floor], pair) !== undefined);
    return distancesOf(floor, own) ?? [];
  });
}

function distancesOf(floor: NoiseFloor, pairs: Comparison['pairs']): Plan | undefined {
  const values = pairs.flatMap(({ against, difference }) =>
    difference === null ? [] : { side: against === 'new' ? 'new' : 'old', loss: difference.ssimLoss },
  );
  if (!values.some(({ loss }) => loss > 0)) return undefined;
  return {
    title: `${outputName(floor)}: how far from the old ones`,
    caption: 'SSIM loss of each pair: old against old is the noise floor, the dashed line what is allowed.',
    spec: {
      ...base(values),
      height: DISTANCES_HEIGHT,
      layer: [
        {
          mark: { type: 'tick', thickness: 2, opacity: 0.7 },
          encoding: {
            x: { field: 'loss', type: 'quantitative', title: 'SSIM loss (0 is the same)' },
            y: {
              field: 'side',
              type: 'nominal',
              title: null,
              axis: { labelExpr: "datum.label + ' against old'" },
              sort: ['old', 'new'],
            },
            color: { ...sideColour(), legend: null },
          },
        },
        {
          data: { values: [{ limit: floor.limits.ssimLoss }] },
          mark: { type: 'rule', strokeDash: [4, 3], color: 'var(--text)' },
          encoding: { x: { field: 'limit', type: 'quantitative' } },
        },
      ],
    },
  };
}

function base(values: readonly Readonly<Record<string, string | number>>[]) {
  return { width: WIDTH, height: HEIGHT, data: { values: [...values] }, config: CONFIG };
}

function sideOf({ arm }: ComparedJob): string {
  return arm === 'new' ? 'new' : 'old';
}
