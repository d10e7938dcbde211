export {
  createWebhookHandler,
  LARGEST_BODY,
  type WebhookHandler,
  type WebhookHandlerOptions,
  type WebhookNotice,
} from './incoming.ts';
export { isJobSecret, jobSecret, runpodWebhookUrl } from './job-secret.ts';
export { nodeListener } from './node-listener.ts';
export {
  ANSWER_TIMEOUT_MS,
  checkReceiverUrl,
  createWebhookSender,
  jobMessage,
  type OutgoingDelivery,
  type ReceiverRules,
  RETRY_SCHEDULE_MS,
  type SendOutcome,
  type WebhookOutbox,
  type WebhookSender,
  type WebhookSenderOptions,
} from './outgoing.ts';
export {
  createWebhookSecret,
  parseWebhookSecret,
  SECRET_BYTES,
  type SignedHeaders,
  type SignedMessage,
  signWebhook,
  TOLERANCE_MS,
  type Verification,
  verifyWebhook,
  type WebhookMessage,
} from './standard-webhooks.ts';
