/** How RunComfy says that something is wrong: refused requests, and runs that failed. */
import { z } from 'zod';

import { ComfyUIServiceError, type ErrorContext } from '../errors.ts';
import { excerpt, type HttpResponse, readText, retryAfter } from '../http.ts';
import { jsonOrUndefined } from './answer.ts';
import { nodeErrors, nodeFailure, nodeMessages } from './comfyui-errors.ts';

const refused = z.object({
  error_code: z.number().nullish(),
  error_message: z.string().nullish(),
  message: z.string().nullish(),
  error: z.string().nullish().catch(undefined),
  detail: z.unknown().optional(),
});
const place = z.array(z.object({ loc: z.array(z.union([z.string(), z.number()])), msg: z.string() }));
/** One reason of a run that failed: `errorCode`, `error`, `debugInfo` in results, `type` and `message` in webhooks. */
const reason = z.object({
  error: z.string().nullish(),
  message: z.string().nullish(),
  type: z.string().nullish(),
  errorCode: z.number().nullish(),
  debugInfo: z.unknown().optional(),
});
const refusedPrompt = z.object({ node_errors: nodeErrors });
const failedNode = z.object({ node_id: z.string(), exception_message: z.string() });

const OUT_OF_MEMORY = /out\s?of\s?memory|allocation on device/i;

/** What ComfyUI says of a prompt that it does not take, with or without what is wrong with each node. */
const REFUSED_PROMPT = /failed validation|invalid prompt|does not exist|missing_node_type|invalid_prompt/i;

/** Codes of refusals (docs.runcomfy.com/serverless/error-codes, read 2026-11-25): an HTTP status and three digits, mostly. */
const INSUFFICIENT_FUNDS = 10_001;

/** An answer with a status of success that is a refusal all the same. */
export function refusalIn(answer: unknown): ComfyUIServiceError | undefined {
  const found = refused.safeParse(answer);
  const code = found.success ? (found.data.error_code ?? undefined) : undefined;
  // A code of six digits begins with the HTTP status that it stands for.
  return code === undefined ? undefined : errorOf(code > 99_999 ? Math.floor(code / 1_000) : 0, answer, {});
}

/** Turns an answer that is no success into an error. */
export async function refusal(response: HttpResponse, now: number): Promise<ComfyUIServiceError> {
  const text = await readText(response, 1 << 20).catch(() => '');
  return errorOf(response.statusCode, jsonOrUndefined(text) ?? text, {
    retryAfterMs: retryAfter(response, now),
  });
}

function errorOf(status: number, answer: unknown, known: ErrorContext): ComfyUIServiceError {
  const told = refused.safeParse(answer);
  const { error_code: code, error_message, message, error, detail } = told.success ? told.data : {};
  const places = place.safeParse(detail);
  const reasons = places.success ? places.data.map(({ loc, msg }) => `${loc.join('.')}: ${msg}`) : [];
  const own = error_message ?? message ?? error ?? (typeof answer === 'string' ? excerpt(answer) : '');
  const text = [own || `status ${status}`, ...reasons].join('; ');
  const context: ErrorContext = {
    ...known,
    details: { status, code: code ?? null },
    accepted: status >= 500 ? 'unknown' : 'no',
    retryable: status === 429 || status >= 500,
  };
  if (code === INSUFFICIENT_FUNDS) {
    return new ComfyUIServiceError('backend_error', `The RunComfy deployment is disabled: ${text}`, {
      ...context,
      retryable: false,
      hint: "Add funds to RunComfy's account, and enable the deployment again.",
    });
  }
  switch (status) {
    case 401:
    case 403:
      return new ComfyUIServiceError('unauthorized', `RunComfy refused the API key: ${text}`, {
        ...context,
        hint: 'Check the API key of this backend, and that its account owns the deployment.',
      });
    case 404:
      return new ComfyUIServiceError('job_not_found', `RunComfy does not know this: ${text}`, context);
    case 413:
      return new ComfyUIServiceError('payload_too_large', text, context);
    case 422:
      return new ComfyUIServiceError('invalid_workflow', text, {
        ...context,
        nodeId: places.success ? nodeOf(places.data[0]?.loc) : undefined,
      });
    case 429:
      return new ComfyUIServiceError('rate_limited', text, context);
    default:
      return new ComfyUIServiceError(status === 400 ? 'invalid_input' : 'backend_error', text, context);
  }
}

/** The node in a place such as `body.overrides.6.inputs.seed`. */
function nodeOf(loc: readonly (string | number)[] = []): string | undefined {
  const index = loc.findIndex((part) => part === 'overrides' || part === 'workflow_api_json');
  const node = index === -1 ? undefined : loc[index + 1];
  return node === undefined ? undefined : String(node);
}

/** Why a run failed. */
export function failureOf(error: unknown): ComfyUIServiceError {
  const found = z
    .array(reason)
    .min(1)
    .safeParse(Array.isArray(error) ? error : [error]);
  if (!found.success)
    return plain(typeof error === 'string' && error !== '' ? error : 'RunComfy tells no reason.');
  for (const { debugInfo } of found.data) {
    const told = typeof debugInfo === 'string' ? jsonOrUndefined(debugInfo) : debugInfo;
    // What ComfyUI itself said, where it is passed on.
    if (failedNode.safeParse(told).success) return nodeFailure(told);
    const prompt = refusedPrompt.safeParse(told);
    const nodeId = prompt.success ? Object.keys(prompt.data.node_errors)[0] : undefined;
    if (prompt.success && nodeId !== undefined) {
      const message = nodeMessages(prompt.data.node_errors).join(' ');
      return new ComfyUIServiceError('invalid_workflow', message || 'ComfyUI refused the workflow.', {
        nodeId,
      });
    }
  }
  const texts = found.data.flatMap(({ error: own, message, type }) => own ?? message ?? type ?? []);
  return plain(texts.join('\n') || 'RunComfy tells no reason.');
}

function plain(text: string): ComfyUIServiceError {
  if (OUT_OF_MEMORY.test(text)) return new ComfyUIServiceError('out_of_memory', excerpt(text));
  if (!REFUSED_PROMPT.test(text)) return new ComfyUIServiceError('backend_error', excerpt(text));
  const nodeId = /Node ID '?#([\w:]+)|\bnode (\d[\w:]*)\b/i.exec(text);
  return new ComfyUIServiceError('invalid_workflow', excerpt(text), { nodeId: nodeId?.[1] ?? nodeId?.[2] });
}
