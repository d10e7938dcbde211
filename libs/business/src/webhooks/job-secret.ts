import { createHmac, timingSafeEqual } from 'node:crypto';

import { parseWebhookSecret } from './standard-webhooks.ts';

/**
 * The secret in the webhook URL of one job, for providers that do not sign: HMAC-SHA256 of the job's id, so that nothing
 * has to be stored and one job's URL tells nothing about another's. 43 characters that a URL may hold.
 *
 * @param serviceSecret `whsec_…`, as of Standard Webhooks.
 * @throws {ComfyUIServiceError} `invalid_configuration`.
 */
export function jobSecret(jobId: string, serviceSecret: string): string {
  return digest(jobId, serviceSecret).toString('base64url');
}

/** Whether a secret is the job's, by any of the service's secrets; in constant time. */
export function isJobSecret(given: string, jobId: string, serviceSecrets: readonly string[]): boolean {
  const bytes = Buffer.from(given, 'base64url');
  return serviceSecrets
    .map((secret) => digest(jobId, secret))
    .some((expected) => bytes.length === expected.length && timingSafeEqual(bytes, expected));
}

/** The URL that RunPod is to call when a job ends; `base` is where the handler of incoming webhooks is reached. */
export function runpodWebhookUrl(base: string, jobId: string, serviceSecret: string): string {
  return `${base.replace(/\/$/, '')}/runpod/${encodeURIComponent(jobId)}/${jobSecret(jobId, serviceSecret)}`;
}

function digest(jobId: string, serviceSecret: string): Buffer {
  return createHmac('sha256', parseWebhookSecret(serviceSecret)).update(`ryla-job-webhook.${jobId}`).digest();
}
