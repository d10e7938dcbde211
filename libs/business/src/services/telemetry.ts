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

/** Makes the telemetry of a service. */
export function createTelemetry(
  onProblem: ((kind: string, jobId: string | undefined, error: unknown) => void) | undefined,
): Telemetry {
  const tracer = trace.getTracer(NAME);
  const meter = metrics.getMeter(NAME);
  const jobs = meter.createCounter('ryla.jobs', { description: 'Jobs that have ended.' });
  const execution = meter.createHistogram('ryla.job.execution', { unit: 'ms' });
  const total = meter.createHistogram('ryla.job.total', { unit: 'ms' });
  const cost = meter.createCounter('ryla.job.cost', { unit: 'USD' });
  const retries = meter.createCounter('ryla.retries');
  const problems = meter.createCounter('ryla.problems');
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
      };
      jobs.add(1, attributes);
      if (job.timings.executionMs !== null) execution.record(job.timings.executionMs, attributes);
      if (job.finishedAt !== null) total.record(job.finishedAt - job.createdAt, attributes);
      if (job.cost !== null) cost.add(job.cost.usd, attributes);
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
