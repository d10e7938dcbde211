import { applyInputs } from '@ryla/workflow';
import { describe, expect, it } from 'vitest';

import { photoFinish } from './client.ts';

describe('photo-finish', () => {
  it('is a valid endpoint whose defaults apply', () => {
    const { workflow } = applyInputs(photoFinish.config, photoFinish.workflow, {});
    expect(Object.keys(workflow)).toEqual(Object.keys(photoFinish.workflow));
  });

  it('names every input that its typed client names', () => {
    const names = Object.keys(photoFinish.config.inputs);
    expect(names).toEqual(['image', 'width', 'sharpness', 'vignette']);
  });
});
