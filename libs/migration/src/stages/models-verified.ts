/** Who has verified the models on the new side, noted in the job store: `advance` from `off` asks for it. */
import type { JobStore } from '@ryla/business';
import { z } from 'zod';

const note = z.object({
  /** Milliseconds since 1970. */
  at: z.number(),
  /** What was compared, such as `EU-RO-1/volume`. */
  source: z.string(),
  files: z.int(),
});

/** That a copy of an endpoint's models was complete and verified. */
export type ModelsVerified = z.infer<typeof note>;

/** Part of the job store that holds it. */
export type NoteStore = Pick<JobStore, 'getState' | 'setState'>;

/** Notes it. */
export async function noteModelsVerified(
  store: NoteStore,
  endpoint: string,
  verified: ModelsVerified,
): Promise<void> {
  for (;;) {
    const entry = await store.getState(keyOf(endpoint));
    const { applied } = await store.setState(keyOf(endpoint), { ...verified }, entry?.version ?? 0);
    if (applied) return;
  }
}

/** What was noted; undefined where nobody has verified them. */
export async function modelsVerified(
  store: NoteStore,
  endpoint: string,
): Promise<ModelsVerified | undefined> {
  return note.safeParse((await store.getState(keyOf(endpoint)))?.value).data;
}

function keyOf(endpoint: string): string {
  return `migration/models/${endpoint}`;
}
