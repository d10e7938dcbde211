import { parseEndpointConfig } from '@ryla/workflow';
import { describe, expect, it } from 'vitest';

import type { PlanEntry } from './deployment-document.ts';
import { unpinnedNotes } from './unpinned-models.ts';

describe('a plan for a real cloud', () => {
  it('says which models nobody brings there, of what it would deploy', () => {
    const planned = (name: string, action: PlanEntry['action']) => ({
      entry: {
        endpoint: name,
        provider: 'modal' as const,
        environment: '',
        action,
        fingerprint: null,
        liveFingerprint: null,
        liveCommit: null,
        liveVersion: null,
        reasons: [],
      },
      shipment: {
        endpoint: {
          config: parseEndpointConfig({ name, title: name }),
          workflow: { '1': { class_type: 'VAELoader', inputs: { vae_name: `${name}.safetensors` } } },
          directory: '/nowhere',
        },
        fingerprint: '',
        commit: null,
      },
    });
    const text = unpinnedNotes([planned('new', 'create'), planned('same', 'unchanged')]).join('\n');
    expect(text).toContain('vae/new.safetensors');
    expect(text).not.toContain('same.safetensors');
  });
});
