import { parseApiWorkflow } from '@ryla/workflow';

/** What every job runs: no model, one picture. */
export const workflow = parseApiWorkflow({
  '1': { class_type: 'EmptyImage', inputs: { width: 8, height: 8, batch_size: 1, color: 0 } },
  '2': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'x' } },
});
