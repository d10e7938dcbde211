/** How ComfyUI says that something is wrong: refused prompts, failed nodes, answers of the proxy in front of it. */
import { z } from 'zod';

import { ComfyUIServiceError, type ErrorContext } from '../errors.ts';
import { excerpt, type HttpResponse, readText, retryAfter } from '../http.ts';

/** What an exception's type or message holds when the GPU's memory was not enough. */
const OUT_OF_MEMORY = /out\s?of\s?memory|allocation on device/i;

/** What is wrong with each node of a prompt, as ComfyUI answers it. */
export const nodeErrors = z.record(
  z.string(),
  z.object({
    errors: z
      .array(z.object({ message: z.string(), details: z.string().nullish() }))
      .nullish()
      .transform((errors) => errors ?? []),
    class_type: z.string().nullish(),
  }),
);
const promptRefusal = z.object({
  error: z.union([
    z.string(),
    z.object({ type: z.string().nullish(), message: z.string(), details: z.string().nullish() }),
  ]),
  node_errors: nodeErrors.nullish().catch(undefined),
});
const executionError = z.object({
  node_id: z.string().nullish(),
  node_type: z.string().nullish(),
  exception_message: z.string().catch(''),
  exception_type: z.string().catch(''),
});

/** Why a run failed, with the node that raised it. */
export function nodeFailure(told: unknown): ComfyUIServiceError {
  const error = executionError.safeParse(told);
  if (!error.success) return new ComfyUIServiceError('backend_error', 'ComfyUI reports that the job failed.');
  const { node_id, node_type, exception_message, exception_type } = error.data;
  const isMemory = OUT_OF_MEMORY.test(`${exception_type} ${exception_message}`);
  const reason = exception_message.trim() || exception_type || 'without a reason';
  return new ComfyUIServiceError(
    isMemory ? 'out_of_memory' : 'node_execution_error',
    `Node ${node_id ?? '?'} (${node_type ?? '?'}) failed: ${reason}`,
    {
      nodeId: node_id ?? undefined,
      classType: node_type ?? undefined,
      details: { exceptionType: exception_type },
      hint: isMemory ? 'Use a smaller size or batch, or a GPU with more memory.' : undefined,
    },
  );
}

/** What is wrong with which node, in words. */
export function nodeMessages(found: z.infer<typeof nodeErrors>): string[] {
  return Object.entries(found).flatMap(([nodeId, { class_type, errors }]) =>
    errors.map(
      ({ message, details }) =>
        `Node ${nodeId} (${class_type ?? '?'}): ${message}${details == null || details === '' ? '' : `: ${details}`}`,
    ),
  );
}

/** Turns an answer that is no success into an error. */
export async function refusal(response: HttpResponse, now: number): Promise<ComfyUIServiceError> {
  const { statusCode } = response;
  const retryAfterMs = retryAfter(response, now);
  const text = await readText(response, 1 << 20).catch(() => '');
  const message = excerpt(text) || `status ${statusCode}`;
  const context: ErrorContext = {
    retryAfterMs,
    accepted: statusCode >= 500 ? 'unknown' : 'no',
    retryable: statusCode === 429 || statusCode >= 500,
  };
  switch (statusCode) {
    case 400:
      return invalidPrompt(text, message, context);
    case 401:
    case 403:
      return new ComfyUIServiceError('unauthorized', `The proxy in front of ComfyUI refused: ${message}`, {
        ...context,
        hint: 'Check the headers of this backend.',
      });
    case 404:
      return new ComfyUIServiceError('backend_error', `There is no ComfyUI at this address: ${message}`, {
        ...context,
        hint: 'Check baseUrl.',
      });
    case 413:
      return new ComfyUIServiceError('payload_too_large', message, context);
    case 429:
      return new ComfyUIServiceError('rate_limited', message, context);
    default:
      return new ComfyUIServiceError('backend_error', message, context);
  }
}

function invalidPrompt(text: string, message: string, context: ErrorContext): ComfyUIServiceError {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return new ComfyUIServiceError('invalid_input', `ComfyUI refused the request: ${message}`, context);
  }
  const told = promptRefusal.safeParse(value);
  if (!told.success) return new ComfyUIServiceError('invalid_workflow', message, context);
  const { error, node_errors } = told.data;
  const found = node_errors ?? {};
  const general =
    typeof error === 'string'
      ? error
      : `${error.message}${error.details == null || error.details === '' ? '' : ` (${error.details})`}`;
  const [first] = Object.entries(found);
  // A class that is not installed comes without node_errors: the node is in the text.
  const nodeId = first?.[0] ?? /Node ID '#([^']+)'/.exec(general)?.[1];
  const reasons = nodeMessages(found);
  return new ComfyUIServiceError('invalid_workflow', reasons.length === 0 ? general : reasons.join(' '), {
    ...context,
    nodeId,
    classType: first?.[1].class_type ?? undefined,
    details: { error, node_errors: found },
  });
}
