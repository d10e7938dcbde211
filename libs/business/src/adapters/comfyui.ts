/** A plain ComfyUI server: HTTP, and one WebSocket that all jobs share. Only the wire. */
import { randomUUID } from 'node:crypto';
import path from 'node:path';

import type { ApiWorkflow, Json } from '@ryla/workflow';
import { z } from 'zod';

import type { Adapter, AdapterEvent, CallOptions, ProviderRef } from '../adapter.ts';
import { AssetCache, untilAborted } from '../asset-cache.ts';
import { ComfyUIServiceError } from '../errors.ts';
import { contentOf, contentTypeOf, type FileContent } from '../file-content.ts';
import { createHttpClient, type HttpClient, type HttpRequest, type HttpResponse, readJson } from '../http.ts';
import { isTerminal, type JobFile, type JobSnapshot, type JobSubmission, NOTHING_KNOWN } from '../job.ts';
import { LruMap } from '../lru-map.ts';
import { multipart } from '../multipart.ts';
import { JobOutput } from '../output.ts';
import { fetchForeign, remoteContent, type RemoteContentOptions } from '../remote-content.ts';
import { notAccepted, parsedAnswer } from './answer.ts';
import { nodeErrors, nodeFailure, nodeMessages, refusal } from './comfyui-errors.ts';
import { reportedOutputs, type ReportedOutput } from './comfyui-outputs.ts';
import { type PromptNodes, RunProgress } from './comfyui-progress.ts';
import { ComfyUISocket, type SocketMessage } from './comfyui-socket.ts';
import { EventChannel } from './event-channel.ts';

/** Options of {@link comfyui}. */
export interface ComfyUIOptions {
  /** Address of the server, such as http://127.0.0.1:8188; may hold a mount prefix. */
  readonly baseUrl: string;
  /** Headers for a proxy in front of the server; ComfyUI itself knows no credentials. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Largest input file in bytes; {@link COMFYUI_UPLOAD_BYTES} without it. */
  readonly maximumUploadBytes?: number;
  /** Whether input files may be fetched from addresses that are not public, also over http. Default false. */
  readonly allowPrivateNetworks?: boolean;
  /** Milliseconds without a message after which a followed job is asked for; default 2,000. */
  readonly quietMs?: number;
  /** Milliseconds before a broken WebSocket is opened again; doubled up to 10 s. Default 250. */
  readonly reconnectMs?: number;
  readonly http?: HttpClient;
  /** Milliseconds since 1970; replaced in tests. */
  readonly now?: () => number;
}

/** Bytes of one request that ComfyUI takes (its --max-upload-size, 100 MB unless it is set otherwise). */
export const COMFYUI_UPLOAD_BYTES = 100 * 1024 * 1024;

/** Jobs that are remembered; as many as ComfyUI keeps in its history. */
const REMEMBERED_JOBS = 10_000;

/** Milliseconds that a submission waits for the WebSocket, so that the start of a quick job is heard. */
const SOCKET_PATIENCE_MS = 1_000;

/** Milliseconds that the WebSocket stays open when no job is left. */
const IDLE_MS = 5_000;

/** Milliseconds after which a job whose end was announced is looked for again in the history. */
const ENDED_QUIET_MS = 50;

/** Looks at the queue while a job is being canceled: it may start between a look and the answer to it. */
const CANCEL_ROUNDS = 5;

const accepted = z.object({ prompt_id: z.string(), node_errors: nodeErrors.nullish().catch(undefined) });
const uploaded = z.object({ name: z.string(), subfolder: z.string().nullish() });
const nodes = z.record(
  z.string(),
  z.object({ class_type: z.string(), inputs: z.record(z.string(), z.unknown()).catch({}) }),
);
const queued = z.tuple([z.number(), z.string(), nodes.catch({})], z.unknown());
const queue = z.object({ queue_running: z.array(queued), queue_pending: z.array(queued) });
const historyEntry = z.object({
  outputs: z.record(z.string(), z.record(z.string(), z.unknown())).catch({}),
  status: z
    .object({
      status_str: z.string(),
      messages: z.array(z.tuple([z.string(), z.record(z.string(), z.unknown())], z.unknown())).catch([]),
    })
    .nullish(),
});
const aboutJob = z.object({ prompt_id: z.string() });
const aboutNode = z.object({ node: z.string().nullish() });
const cachedNodes = z.object({ nodes: z.array(z.string()) });
const nodeStep = z.object({ node: z.string(), value: z.number(), max: z.number() });
const nodeOutput = z.object({ node: z.string(), output: z.record(z.string(), z.unknown()).nullish() });
const nodeStates = z.object({
  nodes: z.record(z.string(), z.object({ state: z.string(), value: z.number(), max: z.number() })),
});
const timestamped = z.object({ timestamp: z.number() });

type HistoryEntry = z.infer<typeof historyEntry>;

/** What this adapter knows of a job beside what the server says. */
interface KnownJob {
  /** It was submitted by this adapter, so that its messages come to this socket. */
  readonly isOurs: boolean;
  warnings: readonly string[];
  progress: RunProgress | undefined;
  acceptedAt: number | undefined;
  startedAt: number | undefined;
  /** Whether it was asked to stop, and whether it was taken out of the queue. */
  cancel: 'asked' | 'deleted' | undefined;
}

/** An adapter for a ComfyUI server. Jobs run under our id as `prompt_id`. */
export function comfyui(options: ComfyUIOptions): Adapter {
  const http = options.http ?? createHttpClient();
  const now = options.now ?? Date.now;
  const quietMs = options.quietMs ?? 2_000;
  const base = new URL(options.baseUrl.endsWith('/') ? options.baseUrl : `${options.baseUrl}/`);
  const credentials = options.headers ?? {};
  const allowPrivate = options.allowPrivateNetworks ?? false;
  const foreign = createHttpClient({ network: allowPrivate ? 'any' : 'public' });
  const remote: RemoteContentOptions = {
    own: { origin: base.origin, headers: credentials, http },
    foreign,
    allowHttp: allowPrivate,
  };
  const fetch = fetchForeign({ foreign, allowHttp: allowPrivate });
  const clientId = randomUUID();
  const uploads = new AssetCache<string>(now);
  const jobs = new LruMap<string, KnownJob>(REMEMBERED_JOBS);
  /** Ids that the server may know already: it would run them a second time without a word. */
  const suspects = new LruMap<string, true>(REMEMBERED_JOBS);
  const submitting = new Set<string>();
  const running = new Set<string>();
  const listeners = new Map<string, Set<EventChannel>>();
  let idle: NodeJS.Timeout | undefined;
  /** The job that the server works on, for messages that do not say. */
  let current: string | undefined;

  const socketUrl = new URL(`ws?clientId=${clientId}`, base);
  socketUrl.protocol = base.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = new ComfyUISocket({
    url: socketUrl,
    headers: credentials,
    dispatcher: http.dispatcher,
    reconnectMs: options.reconnectMs ?? 250,
    random: Math.random,
    onMessage: hear,
    onConnected: () => {
      for (const channels of listeners.values()) for (const channel of channels) channel.pause('missed');
    },
  });

  async function call(
    method: 'GET' | 'POST',
    route: string,
    { signal }: CallOptions,
    body?: HttpRequest['body'],
    headers: Readonly<Record<string, string>> = {},
  ): Promise<HttpResponse> {
    const response = await http.send({
      method,
      url: new URL(route, base),
      headers: { ...credentials, ...headers },
      ...(body === undefined ? {} : { body }),
      signal,
    });
    if (response.statusCode === 200) return response;
    throw await refusal(response, now());
  }

  const post = async (route: string, json: unknown, callOptions: CallOptions): Promise<HttpResponse> =>
    call('POST', route, callOptions, JSON.stringify(json), { 'content-type': 'application/json' });

  // -- what is heard -----------------------------------------------------------------------------------------

  function hear(message: SocketMessage): void {
    if (message.type === 'preview') {
      const id = message.promptId ?? current;
      if (id === undefined) return;
      const node = message.nodeId ?? jobs.get(id)?.progress?.snapshot().node;
      tell(id, { type: 'preview', node, contentType: message.contentType, bytes: message.bytes });
      return;
    }
    const { name, data } = message;
    const about = aboutJob.safeParse(data);
    if (!about.success) return;
    const id = about.data.prompt_id;
    if (name === 'executing' && aboutNode.safeParse(data).data?.node == null) {
      // The history is written before this; execution_success comes earlier.
      ended(id);
      for (const channel of listeners.get(id) ?? []) channel.pause('ended');
      return;
    }
    current = id;
    const job = jobs.get(id);
    if (name === 'execution_start' && job !== undefined) job.startedAt ??= now();
    if (name === 'executed') {
      const parsed = nodeOutput.safeParse(data);
      if (parsed.success)
        for (const { nodeId, name: file } of reportedOutputs(parsed.data.node, parsed.data.output ?? {}))
          tell(id, { type: 'output', nodeId, name: file });
    }
    if (job?.progress === undefined || !advance(job.progress, name, data)) return;
    tell(id, {
      type: 'snapshot',
      snapshot: { status: statusOf(job), progress: job.progress.snapshot(), queuePosition: undefined },
    });
  }

  function tell(id: string, event: AdapterEvent): void {
    for (const channel of listeners.get(id) ?? []) channel.push(event);
  }

  /** The socket is open while a job of ours runs or somebody listens, and a little longer. */
  function begun(id: string): void {
    running.add(id);
    clearTimeout(idle);
    void socket.open();
  }

  function ended(id: string): void {
    if (current === id) current = undefined;
    running.delete(id);
    clearTimeout(idle);
    if (running.size === 0 && listeners.size === 0) idle = setTimeout(() => socket.close(), IDLE_MS).unref();
  }

  function listen(id: string): { readonly channel: EventChannel; readonly stop: () => void } {
    const channel = new EventChannel();
    const channels = listeners.get(id) ?? new Set();
    listeners.set(id, channels.add(channel));
    clearTimeout(idle);
    void socket.open();
    return {
      channel,
      stop: () => {
        channels.delete(channel);
        if (channels.size > 0) return;
        listeners.delete(id);
        if (!running.has(id)) ended(id);
      },
    };
  }

  // -- what is asked -----------------------------------------------------------------------------------------

  async function history(id: string, callOptions: CallOptions): Promise<HistoryEntry | undefined> {
    const answer = await readJson(await call('GET', `history/${encodeURIComponent(id)}`, callOptions));
    return parsed(z.record(z.string(), historyEntry), answer)[id];
  }

  /** Where a job is in the queue: 0 when it runs, else how many run before it; undefined when it is not there. */
  async function placeInQueue(
    id: string,
    callOptions: CallOptions,
  ): Promise<{ readonly position: number; readonly nodes: PromptNodes } | undefined> {
    const { queue_running, queue_pending } = parsed(
      queue,
      await readJson(await call('GET', 'queue', callOptions)),
    );
    const [, , runningNodes] = queue_running.find(([, promptId]) => promptId === id) ?? [];
    if (runningNodes !== undefined) return { position: 0, nodes: runningNodes };
    // The pending ones come as a heap, not in order.
    const waiting = queue_pending.toSorted(([a], [b]) => a - b);
    const index = waiting.findIndex(([, promptId]) => promptId === id);
    const entry = waiting[index];
    return entry === undefined ? undefined : { position: index + 1, nodes: entry[2] };
  }

  async function isKnown(id: string, callOptions: CallOptions): Promise<boolean> {
    return (
      (await history(id, callOptions)) !== undefined ||
      (await placeInQueue(id, callOptions)) !== undefined ||
      // It may have ended between the two looks.
      (await history(id, callOptions)) !== undefined
    );
  }

  async function snapshotOf(id: string, callOptions: CallOptions): Promise<JobSnapshot> {
    const finished = await history(id, callOptions);
    if (finished !== undefined) return finalSnapshot(id, finished);
    const place = await placeInQueue(id, callOptions);
    if (place !== undefined) {
      const job = jobs.get(id) ?? remember(id, place.nodes, false);
      if (place.position > 0) return { ...NOTHING_KNOWN, status: 'queued', queuePosition: place.position };
      return { ...NOTHING_KNOWN, status: statusOf(job), progress: job.progress?.snapshot() };
    }
    const late = await history(id, callOptions);
    if (late !== undefined) return finalSnapshot(id, late);
    const job = jobs.get(id);
    if (job === undefined)
      throw new ComfyUIServiceError('job_not_found', `ComfyUI at ${base.host} does not know job ${id}.`, {
        hint: 'Its history is in memory: a restart forgets it, and so do 10,000 later jobs.',
      });
    ended(id);
    if (job.cancel !== undefined) return { ...NOTHING_KNOWN, status: 'canceled' };
    const message = `ComfyUI at ${base.host} no longer knows job ${id}: it was restarted, or its queue was cleared.`;
    return {
      ...NOTHING_KNOWN,
      status: 'failed',
      error: new ComfyUIServiceError('worker_lost', message, { retryable: true }),
    };
  }

  function remember(id: string, workflow: PromptNodes, isOurs: boolean): KnownJob {
    const job: KnownJob = {
      isOurs,
      warnings: [],
      progress: new RunProgress(workflow),
      acceptedAt: undefined,
      startedAt: undefined,
      cancel: undefined,
    };
    jobs.set(id, job);
    return job;
  }

  function finalSnapshot(id: string, entry: HistoryEntry): JobSnapshot {
    ended(id);
    const job = jobs.get(id);
    if (job !== undefined) job.progress = undefined;
    const told = (name: string): Record<string, unknown> | undefined =>
      entry.status?.messages.find(([type]) => type === name)?.[1];
    const at = (name: string): number | undefined => timestamped.safeParse(told(name)).data?.timestamp;
    const [start, end] = [at('execution_start'), at('execution_success') ?? at('execution_error')];
    const known = {
      ...NOTHING_KNOWN,
      timings: {
        queueMs:
          job?.startedAt === undefined || job.acceptedAt === undefined
            ? null
            : job.startedAt - job.acceptedAt,
        coldStartMs: null,
        executionMs: start === undefined || end === undefined ? null : end - start,
      },
    };
    if (entry.status == null || entry.status.status_str === 'success') {
      const outputs = Object.entries(entry.outputs).flatMap(([node, report]) =>
        reportedOutputs(node, report),
      );
      const warnings = job?.warnings ?? [];
      return {
        ...known,
        status: 'succeeded',
        outputs: outputs.map(toOutput),
        ...(warnings.length === 0 ? {} : { warnings }),
      };
    }
    if (told('execution_interrupted') !== undefined) return { ...known, status: 'canceled' };
    return { ...known, status: 'failed', error: nodeFailure(told('execution_error')) };
  }

  function toOutput({ content, ...description }: ReportedOutput): JobOutput {
    if ('text' in content) {
      const bytes = Buffer.from(content.text);
      return new JobOutput({ ...description, size: bytes.length, sha256: undefined }, async function* ({
        offset,
      }) {
        yield await Promise.resolve(bytes.subarray(offset));
      });
    }
    const url = new URL('view', base);
    url.searchParams.set('filename', content.filename);
    url.searchParams.set('subfolder', content.subfolder);
    url.searchParams.set('type', content.folder);
    const file = { url: url.href, name: description.name, nodeId: description.nodeId };
    return new JobOutput({ ...description, size: undefined, sha256: undefined }, remoteContent(remote, file));
  }

  // -- what is sent ------------------------------------------------------------------------------------------

  async function upload(file: JobFile, content: FileContent, callOptions: CallOptions): Promise<string> {
    const filename = `ryla-${content.sha256.slice(0, 32)}${path.extname(file.name).toLowerCase()}`;
    const part = { field: 'image', filename, contentType: contentTypeOf(file.name), content };
    // Without `overwrite`: the server keeps what is there when it is the same, while another job may be reading it.
    const { headers, body } = multipart({ type: 'input' }, part, callOptions.signal);
    const answer = await readJson(await call('POST', 'upload/image', callOptions, body, headers));
    const { name, subfolder } = parsed(uploaded, answer);
    return subfolder == null || subfolder === '' ? name : `${subfolder}/${name}`;
  }

  async function withUploads(
    { workflow, files }: JobSubmission,
    callOptions: CallOptions,
  ): Promise<{ readonly prompt: ApiWorkflow; readonly reused: ReadonlyMap<string, string> }> {
    const names = new Map<string, string>();
    const reused = new Map<string, string>();
    const { signal } = callOptions;
    const maximumBytes = options.maximumUploadBytes ?? COMFYUI_UPLOAD_BYTES;
    for (const file of files) {
      const content = await contentOf(file.source, { signal, maximumBytes, fetch });
      const key = `${content.sha256} ${path.extname(file.name).toLowerCase()}`;
      const send = async (): Promise<{ ref: string; expiresAt: undefined }> => ({
        ref: await upload(file, content, callOptions),
        expiresAt: undefined,
      });
      const found = await uploads.get(key, send, signal);
      if (found.reused) reused.set(found.ref, key);
      names.set(file.name, found.ref);
    }
    return { prompt: withNames(workflow, names), reused };
  }

  async function submit(submission: JobSubmission, callOptions: CallOptions): Promise<ProviderRef> {
    const { jobId } = submission;
    if (suspects.get(jobId) === true && (await isKnown(jobId, callOptions))) throw takenAlready(jobId);
    suspects.set(jobId, true);
    const { prompt, reused } = await withUploads(submission, callOptions).catch(notAccepted);
    await untilAborted(Promise.race([socket.open(), patience()]), callOptions.signal);
    // Before it is sent: a quick job has ended before the answer to its submission is here.
    const job = remember(jobId, prompt, true);
    job.acceptedAt = now();
    begun(jobId);
    try {
      const response = await post('prompt', { prompt, prompt_id: jobId, client_id: clientId }, callOptions);
      const { prompt_id: id, node_errors: left } = parsed(accepted, await readJson(response));
      job.warnings = nodeMessages(left ?? {});
      // A server that is too old to take our id has given its own.
      if (id !== jobId) jobs.set(id, job);
      return { id };
    } catch (error) {
      ended(jobId);
      jobs.delete(jobId);
      if (!ComfyUIServiceError.isInstance(error) || error.code !== 'invalid_workflow') throw error;
      // The server may have lost what an earlier job uploaded: the next attempt uploads it again.
      const lost = [...reused].filter(([name]) => error.message.includes(name));
      for (const [, key] of lost) uploads.forget(key);
      throw lost.length === 0 ? error : error.with({ retryable: true, accepted: 'no' });
    }
  }

  return {
    async submit(submission, callOptions) {
      callOptions.signal.throwIfAborted();
      const { jobId } = submission;
      if (submitting.has(jobId)) throw takenAlready(jobId);
      submitting.add(jobId);
      try {
        return await submit(submission, callOptions);
      } finally {
        submitting.delete(jobId);
      }
    },
    status: (ref, callOptions) => snapshotOf(idOf(ref), callOptions),
    async cancel(ref, callOptions) {
      const id = idOf(ref);
      for (let round = 0; round < CANCEL_ROUNDS; round += 1) {
        const place = await placeInQueue(id, callOptions);
        if (place === undefined) return;
        const job = jobs.get(id) ?? remember(id, place.nodes, false);
        const isWaiting = place.position > 0;
        const route = isWaiting ? 'queue' : 'interrupt';
        const json = isWaiting ? { delete: [id] } : { prompt_id: id };
        await (await post(route, json, callOptions)).body.dump();
        job.cancel = isWaiting ? 'deleted' : 'asked';
        if (!isWaiting) return;
      }
    },
    async *events(ref, { signal }) {
      const id = idOf(ref);
      const { channel, stop } = listen(id);
      const told = new Set<string>();
      try {
        let pause: 'ended' | 'missed' | 'quiet' = 'missed';
        for (;;) {
          const snapshot = await snapshotOf(id, { signal });
          for (const { nodeId, name } of snapshot.outputs) {
            if (!told.has(`${nodeId}/${name}`)) yield { type: 'output', nodeId, name };
          }
          // The end of a job of ours was not heard: the connection is dead, whatever it says.
          if (isTerminal(snapshot.status) && pause === 'quiet' && jobs.get(id)?.isOurs === true)
            socket.restart();
          yield { type: 'snapshot', snapshot };
          if (isTerminal(snapshot.status)) return;
          for (;;) {
            const event = await channel.next(pause === 'ended' ? ENDED_QUIET_MS : quietMs, signal);
            if (typeof event === 'string') {
              pause = event;
              break;
            }
            if (event.type === 'output') {
              const key = `${event.nodeId}/${event.name}`;
              if (told.has(key)) continue;
              told.add(key);
            }
            yield event;
          }
        }
      } finally {
        stop();
      }
    },
    async lookup(jobId, callOptions) {
      // Whoever asks may send it again: a submission that is still on its way must not make it two.
      suspects.set(jobId, true);
      return (await isKnown(jobId, callOptions)) ? { id: jobId } : undefined;
    },
    async health(callOptions) {
      const answer = await readJson(await call('GET', 'queue', callOptions));
      const { queue_running: busy, queue_pending: waiting } = parsed(queue, answer);
      return { queued: waiting.length, running: busy.length, idleWorkers: busy.length === 0 ? 1 : 0 };
    },
    async close() {
      clearTimeout(idle);
      socket.close();
      await Promise.all([http.close(), foreign.close()]);
    },
  };
}

function idOf(ref: ProviderRef): string {
  return ref['id'] ?? '';
}

function statusOf(job: KnownJob): 'running' | 'canceling' {
  return job.cancel === undefined ? 'running' : 'canceling';
}

async function patience(): Promise<void> {
  await new Promise<void>((resolve) => void setTimeout(resolve, SOCKET_PATIENCE_MS).unref());
}

/** Adds a message to the progress; false when it says nothing of it. */
function advance(progress: RunProgress, name: string, data: unknown): boolean {
  switch (name) {
    case 'execution_start':
      return true;
    case 'execution_cached': {
      const cached = cachedNodes.safeParse(data);
      if (cached.success) progress.cached(cached.data.nodes);
      return cached.success;
    }
    case 'executing': {
      const node = aboutNode.safeParse(data).data?.node ?? undefined;
      if (node !== undefined) progress.executing(node);
      return node !== undefined;
    }
    case 'progress': {
      const step = nodeStep.safeParse(data);
      if (step.success) progress.step(step.data.node, step.data.value, step.data.max);
      return step.success;
    }
    case 'progress_state': {
      const states = nodeStates.safeParse(data);
      if (!states.success) return false;
      for (const [node, { state, value, max }] of Object.entries(states.data.nodes)) {
        if (state === 'finished') progress.finished(node);
        else if (state === 'running' && max > 1) progress.step(node, value, max);
        else if (state === 'running') progress.executing(node);
      }
      return true;
    }
    default:
      return false;
  }
}

/** The workflow with its files' names replaced by those that the server gave. */
function withNames(workflow: ApiWorkflow, names: ReadonlyMap<string, string>): ApiWorkflow {
  if (names.size === 0) return workflow;
  const changed: Record<string, ApiWorkflow[string]> = {};
  for (const [nodeId, node] of Object.entries(workflow)) {
    const inputs = Object.entries(node.inputs).map(([name, value]): [string, Json] => [
      name,
      typeof value === 'string' ? (names.get(value) ?? value) : value,
    ]);
    changed[nodeId] = { ...node, inputs: Object.fromEntries(inputs) };
  }
  return changed;
}

function takenAlready(jobId: string): ComfyUIServiceError {
  return new ComfyUIServiceError('submission_unknown', `Job ${jobId} was submitted before.`, {
    jobId,
    accepted: 'unknown',
    hint: 'Look it up: ComfyUI would run it a second time.',
  });
}

function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  return parsedAnswer(schema, value, "ComfyUI's answer");
}
