/** What the processes of a run say to each other: one JSON object a line. */
import { STAGES } from '@ryla/migration';
import { z } from 'zod';

/** What a user wants: asked by the client, done by a service. */
export const ask = z.object({
  type: z.literal('ask'),
  /** The client's own number of it. */
  n: z.int(),
  endpoint: z.string(),
  prompt: z.string(),
  seed: z.int(),
});

/** One of {@link ask}. */
export type Ask = z.infer<typeof ask>;

/** What the user gets. */
export const answer = z.object({
  type: z.literal('answer'),
  n: z.int(),
  jobId: z.string().nullable(),
  backend: z.string().nullable(),
  status: z.enum(['succeeded', 'failed']),
  /** Bytes of the picture, which must be a PNG; 0 where the job failed. */
  bytes: z.int(),
  code: z.string().nullable(),
});

/** One of {@link answer}. */
export type Answer = z.infer<typeof answer>;

/** What a service tells. Moments in milliseconds since 1970. */
export const fromService = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready') }),
  z.object({
    type: z.literal('submitted'),
    n: z.int(),
    jobId: z.string(),
    backend: z.string(),
    at: z.number(),
  }),
  answer,
  z.object({ type: z.literal('stage'), endpoint: z.string(), stage: z.enum(STAGES), at: z.number() }),
  z.object({ type: z.literal('rollback'), endpoint: z.string(), reason: z.string(), at: z.number() }),
  z.object({ type: z.literal('problem'), message: z.string() }),
]);

/** One of {@link fromService}. */
export type FromService = z.infer<typeof fromService>;

/** What the client hears beside the answers. */
export const toClient = z.discriminatedUnion('type', [answer, z.object({ type: z.literal('stop') })]);

/** The client's account of what it asked for, when everything was answered or it gave up. */
export const ledger = z.object({
  type: z.literal('ledger'),
  asked: z.int(),
  succeeded: z.int(),
  failed: z.int(),
  /** Numbers that got no answer, and those that got more than one. */
  unanswered: z.array(z.int()),
  repeated: z.array(z.int()),
  /** Answers without a picture although they say that it succeeded. */
  empty: z.array(z.int()),
});

/** What a user can say of a run. */
export type Ledger = z.infer<typeof ledger>;

/** What the client tells. */
export const fromClient = z.discriminatedUnion('type', [ask, ledger]);

/** Says something on stdout. */
export function say(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
