import type { ServerContext } from '@modelcontextprotocol/server';
import type { JobEvent } from '@ryla/business';

/** Milliseconds between two notices of the same job at least: clients draw each of them. */
const SPACING_MS = 200;

/** Milliseconds after which a client hears that a job is still alive; many give up after 60 s of silence. */
const HEARTBEAT_MS = 10_000;

/** Tells a client how far a job is. */
export interface ProgressNotices {
  event(event: JobEvent): void;
  /** Ends it; nothing is sent from then on. */
  close(): void;
}

/** What is known of a job, as a client shows it. */
interface Stage {
  /** Done fraction, 0 to 1. */
  readonly value: number;
  readonly message: string;
}

/** Progress notifications for the request of a context; none where the client did not ask for them. */
export function progressNotices(context: Pick<ServerContext, 'mcpReq'>): ProgressNotices {
  const { mcpReq } = context;
  const progressToken = mcpReq._meta?.progressToken;
  if (progressToken === undefined) return { event: () => undefined, close: () => undefined };
  const startedAt = Date.now();
  let stage: Stage = { value: 0, message: 'sent' };
  let sent = 0;
  let sentAt = 0;
  let isOpen = true;

  const send = (message: string): void => {
    if (!isOpen) return;
    // The protocol wants it to grow with every notice, also where a job only waits.
    sent = Math.min(Math.max(stage.value, sent + 0.0001), 1);
    sentAt = Date.now();
    const params = { progressToken, progress: sent, total: 1, message };
    // A client that has gone is the transport's to notice.
    mcpReq.notify({ method: 'notifications/progress', params }).catch(() => undefined);
  };
  const heartbeat = setInterval(() => {
    send(`${stage.message} (${Math.round((Date.now() - startedAt) / 1_000)} s)`);
  }, HEARTBEAT_MS);

  return {
    event(event) {
      const next = stageAfter(event, stage);
      if (next === undefined || (next.value === stage.value && next.message === stage.message)) return;
      const isNews = next.message !== stage.message;
      stage = next;
      if (isNews || Date.now() - sentAt >= SPACING_MS) send(stage.message);
    },
    close() {
      isOpen = false;
      clearInterval(heartbeat);
    },
  };
}

function stageAfter(event: JobEvent, before: Stage): Stage | undefined {
  switch (event.type) {
    case 'queued':
      return { value: 0, message: event.position === undefined ? 'queued' : `queued (${event.position})` };
    case 'starting':
      return { value: 0, message: event.cold === true ? 'started, from cold' : 'started' };
    case 'running': {
      const { value = before.value, nodeClass = 'running' } = event.progress ?? {};
      return { value, message: nodeClass };
    }
    case 'restarted':
      return {
        value: 0,
        message: `attempt ${event.attempt}: ${event.error?.message ?? 'the last one died'}`,
      };
    case 'output':
      return { value: before.value, message: `made ${event.output.name}` };
    case 'finished':
      return { value: 1, message: event.status };
    case 'preview':
      return undefined;
  }
}
