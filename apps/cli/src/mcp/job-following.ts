import {
  type CallToolResult,
  SdkError,
  SdkErrorCode,
  type ServerContext,
} from '@modelcontextprotocol/server';
import type { JobReference } from '@ryla/business';
import type { EndpointDefinition } from '@ryla/workflow';

import { type AnswerOptions, pendingAnswer, resultAnswer } from './job-answer.ts';
import { progressNotices } from './progress-notices.ts';

/** Milliseconds that a cancellation may take to reach the backend. */
const CANCEL_MS = 10_000;

/** Options of {@link followJob}. */
export interface FollowOptions extends AnswerOptions {
  /** Milliseconds that one call waits for a job. */
  readonly waitMs: number;
  /** Aborted when the server ends. */
  readonly closing: AbortSignal;
}

/**
 * Whether a call was given up by its client, so that its job must not go on costing money. That a connection broke or
 * that this program ends is no such thing, except where closing the answer is how the protocol cancels (HTTP, from the
 * revision 2026-07-28 on).
 */
export function isCanceled(context: Pick<ServerContext, 'mcpReq' | 'http'>, closing: AbortSignal): boolean {
  const { signal, envelope } = context.mcpReq;
  if (!signal.aborted || closing.aborted) return false;
  const reason: unknown = signal.reason;
  const isLost = reason instanceof SdkError && reason.code === SdkErrorCode.ConnectionClosed;
  return !isLost || (context.http !== undefined && envelope !== undefined);
}

/** A signal that aborts when the client cancels the call, and at nothing else. */
export function cancellationOf(
  context: Pick<ServerContext, 'mcpReq' | 'http'>,
  closing: AbortSignal,
): AbortSignal {
  const canceled = new AbortController();
  const look = (): void => {
    if (isCanceled(context, closing)) canceled.abort();
  };
  look();
  context.mcpReq.signal.addEventListener('abort', look, { once: true });
  return canceled.signal;
}

/** Follows a job until it ends, its client gives up, or the call has waited long enough. */
export async function followJob(
  job: JobReference,
  endpoint: EndpointDefinition | undefined,
  context: ServerContext,
  options: FollowOptions,
): Promise<CallToolResult> {
  const { waitMs, closing } = options;
  const patience = AbortSignal.timeout(waitMs);
  const waiting = AbortSignal.any([patience, context.mcpReq.signal, closing]);
  const notices = progressNotices(context);
  try {
    for await (const event of job.events({ signal: waiting })) notices.event(event);
    const result = await job.result({ signal: waiting });
    return await resultAnswer(result, endpoint?.config, options, context.mcpReq.signal);
  } catch (error) {
    if (isCanceled(context, closing))
      await job.cancel({ signal: AbortSignal.timeout(CANCEL_MS) }).catch(() => undefined);
    else if (patience.aborted && !context.mcpReq.signal.aborted)
      return pendingAnswer(await job.record(), waitMs);
    throw error;
  } finally {
    notices.close();
  }
}
