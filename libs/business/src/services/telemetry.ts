import process from 'node:process';

import {
  type Attributes,
  context,
  isSpanContextValid,
  metrics,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';

import type { Operation } from '../policy/operation.ts';
import type { JobRecord } from '../store/job-record.ts';

const NAME = '@ryla/business';

/** Spans and metrics of the service; without an OpenTelemetry SDK they go nowhere and cost next to nothing. */
export interface Telemetry {
  /** Runs a submission in a span of its own. */
  submission<T>(attributes: Attributes, work: (span: Span) => Promise<T>): Promise<T>;
  /** W3C trace context of the current span; undefined without one. */
  traceparent(): string | undefined;
  ended(job: JobRecord): void;
  retried(backend: string, operation: Operation): void;
  /** Something went wrong that nobody waits for. */
  problem(kind: string, jobId: string | undefined, error: unknown): void;
}

async function inSpan<T>(span: Span, work: (span: Span) => Promise<T>): Promise<T> {
  try {
    return await work(span);
  } catch (error) {
    span.recordException(error instanceof Error ? error : String(error));
    span.setStatus({ code: SpanStatusCode.ERROR });
    throw error;
  } finally {
    span.end();
  }
}

/** Phases of a job whose time is known, in their order. */
function phasesOf({ timings, metrics: measured }: JobRecord): [string, number][] {
  const phases: [string, number | null | undefined][] = [
    ['queue', timings.queueMs],
    ['cold_start', timings.coldStartMs],
    ['boot', measured?.bootMs],
    ['model_load', measured?.modelLoadMs],
    ['sampling', measured?.samplingMs],
    ['encode', measured?.encodeMs],
    ['upload', measured?.uploadMs],
  ];
  return phases.flatMap(([name, ms]): [string, number][] =>
    ms === null || ms === undefined ? [] : [[name, ms]],
  );
}

function gpuOf({ metrics: measured, cost }: JobRecord): Attributes {
  const gpu = measured?.gpu ?? cost?.gpu ?? null;
  return gpu === null ? {} : { 'ryla.gpu': gpu };
}

function measuredOf(job: JobRecord): Attributes {
  const peak = job.metrics?.peakMemoryBytes ?? null;
  return {
    ...Object.fromEntries(phasesOf(job).map(([name, ms]) => [`ryla.${name}_ms`, ms])),
    ...(job.timings.executionMs === null ? {} : { 'ryla.execution_ms': job.timings.executionMs }),
    ...(peak === null ? {} : { 'ryla.peak_memory_bytes': peak }),
    ...(job.cost === null ? {} : { 'ryla.cost_usd': job.cost.usd }),
  };
}

/** Makes the telemetry of a service. */
export function createTelemetry(
  onProblem: ((kind: string, jobId: string | undefined, error: unknown) => void) | undefined,
): Telemetry {
  const tracer = trace.getTracer(NAME);
  const meter = metrics.getMeter(NAME);
  const jobs = meter.createCounter('ryla.jobs', { description: 'Jobs that have ended.' });
  const execution = meter.createHistogram('ryla.job.execution', { unit: 'ms' });
  const total = meter.createHistogram('ryla.job.total', { unit: 'ms' });
  const phase = meter.createHistogram('ryla.job.phase', {
    unit: 'ms',
    description: 'Time of a job in each phase, by ryla.phase.',
  });
  const memory = meter.createHistogram('ryla.job.peak_memory', {
    unit: 'By',
    description: 'Most GPU memory in use.',
  });
  const cost = meter.createCounter('ryla.job.cost', { unit: 'USD' });
  const retries = meter.createCounter('ryla.retries');
  const problems = meter.createCounter('ryla.problems');

  /** A span of the whole job, in the trace of its submission. */
  function traced(job: JobRecord, attributes: Attributes): void {
    if (job.traceparent === null) return;
    const parent = propagation.extract(context.active(), { traceparent: job.traceparent });
    const span = tracer.startSpan(
      'ryla.job',
      {
        startTime: job.createdAt,
        attributes: {
          ...attributes,
          ...measuredOf(job),
          'ryla.job_id': job.id,
          'ryla.attempts': job.attempt,
        },
      },
      parent,
    );
    if (job.error !== null) span.setStatus({ code: SpanStatusCode.ERROR, message: job.error.code });
    span.end(job.finishedAt ?? undefined);
  }

  return {
    submission(attributes, work) {
      const span = tracer.startSpan('ryla.submit', { kind: SpanKind.PRODUCER, attributes });
      // Nobody traces.
      if (!isSpanContextValid(span.spanContext())) return work(span);
      return context.with(trace.setSpan(context.active(), span), () => inSpan(span, work));
    },
    traceparent() {
      const carrier: Record<string, string> = {};
      propagation.inject(context.active(), carrier);
      return carrier['traceparent'];
    },
    ended(job) {
      const attributes = {
        'ryla.endpoint': job.endpoint ?? '',
        'ryla.backend': job.backend,
        'ryla.status': job.status,
        ...gpuOf(job),
      };
      jobs.add(1, attributes);
      if (job.timings.executionMs !== null) execution.record(job.timings.executionMs, attributes);
      if (job.finishedAt !== null) total.record(job.finishedAt - job.createdAt, attributes);
      if (job.cost !== null) cost.add(job.cost.usd, attributes);
      for (const [name, ms] of phasesOf(job)) phase.record(ms, { ...attributes, 'ryla.phase': name });
      const peak = job.metrics?.peakMemoryBytes ?? null;
      if (peak !== null) memory.record(peak, attributes);
      traced(job, attributes);
    },
    retried: (backend, operation) => retries.add(1, { 'ryla.backend': backend, 'ryla.operation': operation }),
    problem(kind, jobId, error) {
      problems.add(1, { 'ryla.problem': kind });
      try {
        onProblem?.(kind, jobId, error);
      } catch (thrown) {
        // Nobody waits for this: as a rejection it would end the process.
        process.emitWarning(thrown instanceof Error ? thrown : String(thrown));
      }
    },
  };
}
