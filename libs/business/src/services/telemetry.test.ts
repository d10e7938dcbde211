import { context, metrics, propagation, trace } from '@opentelemetry/api';
import type { Attributes, Span, SpanOptions, TextMapPropagator, TracerProvider } from '@opentelemetry/api';
import { afterEach, expect, it } from 'vitest';

import type { JobRecord } from '../store/job-record.ts';
import { intendedJob } from '../store/job-transition.ts';
import { createTelemetry } from './telemetry.ts';

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

interface Seen {
  readonly spans: {
    readonly name: string;
    readonly options: SpanOptions;
    readonly traceId: string | undefined;
  }[];
  readonly recorded: { readonly name: string; readonly value: number; readonly attributes: Attributes }[];
}

/** An OpenTelemetry SDK as far as the service uses one. */
function sdk(): Seen {
  const seen: Seen = { spans: [], recorded: [] };
  const tracer = {
    startSpan(name: string, options: SpanOptions, parent = context.active()): Span {
      seen.spans.push({ name, options, traceId: trace.getSpanContext(parent)?.traceId });
      return trace.wrapSpanContext({ traceId: '', spanId: '', traceFlags: 0 });
    },
  };
  const recorder = (name: string) => {
    const record = (value: number, attributes: Attributes): void => {
      seen.recorded.push({ name, value, attributes });
    };
    return { record, add: record };
  };
  const propagator: TextMapPropagator = {
    inject: () => undefined,
    extract: (at, carrier, getter) => {
      const [, traceId = '', spanId = ''] = String(getter.get(carrier, 'traceparent')).split('-');
      return trace.setSpanContext(at, { traceId, spanId, traceFlags: 1 });
    },
    fields: () => ['traceparent'],
  };
  trace.setGlobalTracerProvider({ getTracer: () => tracer } as unknown as TracerProvider);
  metrics.setGlobalMeterProvider({
    getMeter: () => ({ createCounter: recorder, createHistogram: recorder }),
  } as unknown as Parameters<typeof metrics.setGlobalMeterProvider>[0]);
  propagation.setGlobalPropagator(propagator);
  return seen;
}

afterEach(() => {
  trace.disable();
  metrics.disable();
  propagation.disable();
});

const job: JobRecord = {
  ...intendedJob(
    { id: 'job-1', endpoint: 'grey', backend: 'modal', payloadHash: 'h', traceparent: TRACEPARENT },
    1_000,
  ),
  status: 'succeeded',
  finishedAt: 5_000,
  timings: { queueMs: 10, coldStartMs: 0, executionMs: 3_000, uploadMs: null, downloadMs: null },
  metrics: {
    queueMs: 10,
    bootMs: 0,
    modelLoadMs: 1_200,
    samplingMs: 1_500,
    encodeMs: null,
    uploadMs: 30,
    gpu: 'NVIDIA L40S',
    peakMemoryBytes: 7_000,
  },
};

it('tells the phases, card and memory of a job, and puts it into the trace of its submission', () => {
  const seen = sdk();
  createTelemetry(undefined).ended(job);
  const phases = seen.recorded.filter(({ name }) => name === 'ryla.job.phase');
  expect(phases.map(({ value, attributes }) => [attributes['ryla.phase'], value])).toEqual([
    ['queue', 10],
    ['cold_start', 0],
    ['boot', 0],
    ['model_load', 1_200],
    ['sampling', 1_500],
    ['upload', 30],
  ]);
  expect(seen.recorded).toContainEqual({
    name: 'ryla.job.peak_memory',
    value: 7_000,
    attributes: expect.objectContaining({ 'ryla.gpu': 'NVIDIA L40S' }) as Attributes,
  });
  expect(seen.spans).toMatchObject([
    {
      name: 'ryla.job',
      traceId: '0af7651916cd43dd8448eb211c80319c',
      options: {
        startTime: 1_000,
        attributes: { 'ryla.job_id': 'job-1', 'ryla.model_load_ms': 1_200, 'ryla.peak_memory_bytes': 7_000 },
      },
    },
  ]);
});

it('says nothing of a card that nobody named, and begins no trace of its own', () => {
  const seen = sdk();
  createTelemetry(undefined).ended({ ...job, metrics: null, traceparent: null });
  expect(seen.recorded.every(({ attributes }) => !('ryla.gpu' in attributes))).toBe(true);
  expect(seen.spans).toEqual([]);
});
