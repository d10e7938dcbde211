import { applyInputs } from '@ryla/workflow';
import { describe, expect, it } from 'vitest';

import { fluxSchnell } from './client.ts';

describe('flux-schnell', () => {
  it('is a valid endpoint whose defaults apply', () => {
    const { workflow } = applyInputs(fluxSchnell.config, fluxSchnell.workflow, {});
    expect(Object.keys(workflow)).toEqual(Object.keys(fluxSchnell.workflow));
  });

  it('names every input that its typed client names', () => {
    const names = Object.keys(fluxSchnell.config.inputs);
    expect(names).toEqual(['prompt', 'seed', 'steps', 'width', 'height']);
  });
});
