import { z } from 'zod';

const ratio = z.number().positive();
const rate = z.number().min(0).max(1);

const ORDER = 'rollBackAbove must be below advanceBelow';

const latency = (negligibleMs: number) =>
  z
    .union([
      z
        .strictObject({
          rollBackAbove: ratio.default(1.25),
          advanceBelow: ratio.default(2),
          negligibleMs: z
            .number()
            .nonnegative()
            .default(negligibleMs)
            .describe('milliseconds below which the p95 of the new side is fine, whatever that of the old'),
        })
        .refine(({ rollBackAbove, advanceBelow }) => rollBackAbove < advanceBelow, ORDER),
      z.literal('not_judged'),
    ])
    .prefault({});

/**
 * What the new side may be. Ratios are new by old. A stage is rolled back when the measurements are sure that a figure is above
 * `rollBackAbove`, and goes on when they are sure that it is below `advanceBelow`; in between more jobs are needed.
 */
export const thresholds = z.strictObject({
  errorRate: z
    .strictObject({
      rollBackAbove: ratio.default(1),
      advanceBelow: ratio.default(2),
      negligible: rate.default(0.01).describe('share of failed jobs below which the new side is fine'),
    })
    .refine(({ rollBackAbove, advanceBelow }) => rollBackAbove < advanceBelow, ORDER)
    .prefault({})
    .describe('share of jobs that fail, as a ratio to the old side'),
  queueP95: latency(5_000).describe('p95 of the time in the queue'),
  coldStartP95: latency(5_000).describe('p95 of the cold starts, over the jobs that had one'),
  executionP95: latency(500).describe('p95 of the execution time'),
  costPerPicture: z
    .strictObject({
      rollBackAbove: ratio.default(1.25),
      advanceBelow: ratio.default(2),
      negligibleUsd: z
        .number()
        .nonnegative()
        .default(0)
        .describe('US dollars below which the new side is fine'),
    })
    .refine(({ rollBackAbove, advanceBelow }) => rollBackAbove < advanceBelow, ORDER)
    .prefault({})
    .describe('mean cost of a picture'),
  parity: z
    .union([
      z
        .strictObject({ rollBackAbove: rate.default(0.02), advanceBelow: rate.default(0.05) })
        .refine(({ rollBackAbove, advanceBelow }) => rollBackAbove < advanceBelow, ORDER),
      z.literal('not_judged'),
    ])
    .prefault({})
    .describe(
      'share of pictures beyond the noise floor of the old side; the floor itself lets 1 % of equal pictures through',
    ),
  missing: z
    .strictObject({ rollBackAbove: rate.default(0.05), advanceBelow: rate.default(0.25) })
    .refine(({ rollBackAbove, advanceBelow }) => rollBackAbove < advanceBelow, ORDER)
    .prefault({})
    .describe('share of jobs without measurements, or that never ended'),
});

/** Checked thresholds. */
export type Thresholds = z.infer<typeof thresholds>;
