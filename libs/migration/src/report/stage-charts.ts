/** Jobs, errors and latency of both sides over the time of a migration, with its stages. */
import type { TopLevelSpec } from 'vega-lite';

import { shareOf, type Stage } from '../stages/stage.ts';
import { CONFIG, sideColour, svgOf } from './drawing.ts';
import type { JobSeries, SeriesPoint } from './job-series.ts';
import type { Markup } from './markup.ts';
import { type MigrationRecord, stagePeriods } from './migration-record.ts';

/** The drawing for a wide page, and that for a phone: text that is scaled down cannot be read. */
export interface TimeChart {
  readonly wide: Markup;
  readonly narrow: Markup;
}

/** Pixels of the plot; its axis takes some 60 more. */
const WIDTHS = { wide: 760, narrow: 250 } as const;
const HEIGHT = 110;
const STRIP = 20;

/** Pixels of a letter of 11 pixels, on average. */
const LETTER = 5.6;

/** Lines with more points than this are drawn without them. */
const SHOWN_POINTS = 40;

/** Short names, for bands. */
const SHORT: Readonly<Record<Stage, string>> = {
  off: 'off',
  models_verified: 'verified',
  shadow: 'shadow',
  canary_1: '1 %',
  canary_5: '5 %',
  canary_25: '25 %',
  canary_50: '50 %',
  live: 'live',
  ramp_down: 'ramp-down',
  complete: 'complete',
};

/** Draws it; undefined without any job. */
export async function timeChart(record: MigrationRecord): Promise<TimeChart | undefined> {
  if (record.series.points.length === 0) return undefined;
  return {
    wide: await svgOf(specOf(record, WIDTHS.wide)),
    narrow: await svgOf(specOf(record, WIDTHS.narrow)),
  };
}

function specOf(record: MigrationRecord, width: number): TopLevelSpec {
  const { series } = record;
  const { from, to } = series;
  const bands = bandsOf(record, width);
  const scale = { domain: [from, to], nice: false, zero: false } as const;
  const ticks = ticksOf(from, to, width > 500 ? 9 : 4);
  const time = (isLast: boolean) =>
    ({
      ...{ field: 'at', type: 'quantitative', scale },
      title: isLast ? 'time (UTC)' : null,
      axis: {
        labels: isLast,
        ticks: isLast,
        grid: false,
        values: ticks.values,
        labelExpr: ticks.label,
        labelFlush: true,
      },
    }) as const;
  const band = {
    x: { field: 'from', type: 'quantitative', scale },
    x2: { field: 'to' },
  } as const;
  const strip = {
    width,
    height: STRIP,
    data: { values: bands },
    layer: [
      {
        mark: { type: 'rect', stroke: 'var(--card)', strokeWidth: 1, cornerRadius: 3 },
        encoding: {
          x: { ...band.x, axis: null },
          x2: band.x2,
          fill: { field: 'colour', type: 'nominal', scale: null },
          fillOpacity: { field: 'strength', type: 'quantitative', scale: null },
        },
      },
      {
        mark: { type: 'text', fontSize: 11, baseline: 'middle', color: 'var(--text)', tooltip: false },
        encoding: {
          x: { field: 'middle', type: 'quantitative', scale, axis: null },
          text: { field: 'label', type: 'nominal' },
        },
      },
    ],
  } as const;
  const panel = (title: string, values: readonly PanelPoint[], y: object, isLast: boolean) => ({
    width,
    height: HEIGHT,
    layer: [
      {
        data: { values: bands.filter(({ isFirst }) => !isFirst) },
        mark: { type: 'rule', strokeWidth: 1 },
        encoding: {
          x: { field: 'from', type: 'quantitative', scale },
          color: { field: 'rule', type: 'nominal', scale: null },
          strokeDash: { field: 'dash', type: 'nominal', scale: null },
        },
      },
      {
        data: { values },
        mark: {
          type: 'line',
          strokeWidth: 2,
          point: values.length > 2 * SHOWN_POINTS ? { size: 6 } : { size: 22 },
        },
        encoding: {
          x: time(isLast),
          y: { field: 'value', type: 'quantitative', title, ...y },
          color: sideColour(),
        },
      },
    ],
  });
  const errors = panelOf(series, ({ failedShare }) => failedShare);
  const mostErrors = Math.max(...errors.map(({ value }) => value ?? 0));
  const spec = {
    config: { ...CONFIG, concat: { spacing: 8 } },
    resolve: { scale: { color: 'shared' } },
    vconcat: [
      strip,
      panel(
        'jobs an hour',
        panelOf(series, ({ jobsPerHour }) => jobsPerHour),
        {},
        false,
      ),
      panel(
        'share that fails',
        errors,
        {
          axis: { format: mostErrors < 0.02 ? '.1%' : '.0%' },
          scale: { domain: [0, Math.max(0.01, mostErrors)] },
        },
        false,
      ),
      panel(
        'p95, seconds',
        panelOf(series, ({ p95Ms }) => (p95Ms === null ? null : p95Ms / 1_000)),
        { scale: { zero: true } },
        true,
      ),
    ],
  };
  // Vega-Lite's own types do not know that a scale or an axis may be null in a layered, concatenated view of constant tuples.
  return spec as unknown as TopLevelSpec;
}

interface PanelPoint {
  readonly side: string;
  readonly at: number;
  readonly value: number | null;
}

/** A point stands in the middle of its span, as far as that is seen. */
function panelOf(
  { points, spanMs, from, to }: JobSeries,
  valueOf: (point: SeriesPoint) => number | null,
): readonly PanelPoint[] {
  return points.map((point) => ({
    side: point.arm,
    at: (Math.max(from, point.at) + Math.min(to, point.at + spanMs)) / 2,
    value: valueOf(point),
  }));
}

/** Steps between the moments that an axis names. */
const STEPS = [
  ...[1_000, 5_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000],
  ...[3, 6, 12, 24, 48, 96, 168, 336, 744, 2_232].map((hours) => hours * 3_600_000),
];

/** Moments that an axis names, at most so many, and how. */
function ticksOf(from: number, to: number, most: number): { values: number[]; label: string } {
  const step = STEPS.find((each) => (to - from) / each < most) ?? Infinity;
  const first = Math.ceil(from / step) * step;
  const values = Array.from({ length: most + 1 }, (_, index) => first + index * step).filter(
    (at) => at <= to,
  );
  const clock = step < 60_000 ? '%H:%M:%S' : '%H:%M';
  const isMidnight = 'utchours(datum.value) + utcminutes(datum.value) + utcseconds(datum.value) === 0';
  return { values, label: `utcFormat(datum.value, ${isMidnight} ? '%-d %b' : '${clock}')` };
}

function bandsOf(record: MigrationRecord, width: number) {
  const { from, to } = record.series;
  return stagePeriods(record, from, to).map((period, index) => {
    const pixels = ((period.to - period.from) / (to - from)) * width;
    const label = SHORT[period.stage];
    return {
      from: period.from,
      to: period.to,
      middle: (period.from + period.to) / 2,
      label: pixels > label.length * LETTER + 4 ? label : '',
      isFirst: index === 0,
      colour: period.isRollback ? 'var(--fail)' : shareOf(period.stage) > 0 ? 'var(--new)' : 'var(--muted)',
      strength: period.isRollback ? 0.35 : 0.15 + 0.45 * shareOf(period.stage) ** 0.5,
      rule: period.isRollback ? 'var(--fail)' : 'var(--line)',
      dash: period.isRollback ? [1, 0] : [4, 3],
    };
  });
}
