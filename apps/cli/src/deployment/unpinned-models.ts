import { unpinnedModelsNote } from '@ryla/workflow/node';

import type { Planned } from './plan.ts';

/** What a plan's endpoints load and nobody brings to a real cloud; a worker there refuses its jobs until it is there. */
export function unpinnedNotes(planned: readonly Pick<Planned, 'entry' | 'shipment'>[]): string[] {
  return planned.flatMap(({ entry, shipment }) =>
    shipment === undefined || entry.action === 'unchanged' ? [] : unpinnedModelsNote(shipment.endpoint),
  );
}
