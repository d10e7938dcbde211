import { describe, expect, it } from 'vitest';

import { candidatesMarkdown, readableClouds } from './plan-summary.ts';

describe('readableClouds', () => {
  it('are those with all of their credentials', () => {
    expect(readableClouds({ MODAL_TOKEN_ID: 'a', MODAL_TOKEN_SECRET: 'b', RUNPOD_API_KEY: '' })).toEqual({
      known: ['modal'],
      unknown: ['runpod'],
    });
    expect(readableClouds({ MODAL_TOKEN_ID: 'a' })).toEqual({ known: [], unknown: ['modal', 'runpod'] });
  });
});

describe('candidatesMarkdown', () => {
  it('says that what is live is not known, and lists what is affected', () => {
    const text = candidatesMarkdown(['modal', 'runpod'], ['photo-finish']);
    expect(text).toMatch(/^### Deploy plan: Modal and RunPod, base and head only\n/);
    expect(text).toContain('what is live is not known');
    expect(text).toContain('| `photo-finish` |');
  });

  it('says so where nothing is', () => {
    expect(candidatesMarkdown(['modal'], [])).toContain('No endpoint is affected.');
  });
});
