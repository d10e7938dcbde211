import { describe, expect, it } from 'vitest';

import { type DeployEntry, documentOf, type PlanEntry } from './deployment-document.ts';
import { documentMarkdown, documentText, driftMarkdown, driftText } from './deployment-report.ts';

const scope = {
  target: 'cloud',
  provider: 'modal',
  environment: 'prod',
  base: 'a'.repeat(40),
  head: 'b'.repeat(40),
} as const;

function entry(endpoint: string, more: Partial<PlanEntry> = {}): PlanEntry {
  return {
    endpoint,
    provider: 'modal',
    environment: 'prod',
    action: 'update',
    fingerprint: '22222',
    liveFingerprint: '11111',
    liveCommit: 'a4cab58',
    liveVersion: 'v3',
    reasons: [{ file: 'libs/worker/src/comfy_worker/job.py', why: 'differs from a4cab58' }],
    ...more,
  };
}

function done(endpoint: string, more: Partial<DeployEntry>): DeployEntry {
  return {
    ...entry(endpoint),
    result: 'deployed',
    version: 'v4',
    url: 'https://acme--ryla-poster-api.modal.run',
    smoke: { status: 'succeeded', jobId: 'j', ms: 4_000 },
    ms: 31_500,
    ...more,
  };
}

describe('what is said of a deployment', () => {
  it('is a plan with its reasons', () => {
    const files = Array.from({ length: 8 }, (_, index) => ({ file: `f${index}`, why: 'differs' }));
    const document = documentOf(scope, [
      entry('poster'),
      entry('placard', { reasons: files }),
      entry('gone', { action: 'undeploy', reasons: [] }),
    ]);
    expect(document.summary).toEqual({ update: 2, undeploy: 1 });
    const text = documentText(document);
    expect(text).toContain('Modal prod, aaaaaaa..bbbbbbb: 2 to update, 1 to undeploy');
    expect(text).toContain(
      '~ poster (modal, live v3): to update\n    libs/worker/src/comfy_worker/job.py: differs',
    );
    expect(text).toContain('f4: differs\n    and 3 more');
    expect(documentMarkdown(document)).toContain('`ryla undeploy gone --provider modal` removes');
  });

  it('is a table of a deploy, with what went wrong and what to do', () => {
    const markdown = documentMarkdown(
      documentOf(scope, [
        done('poster', {}),
        done('placard', {
          result: 'rolled_back',
          error: 'Its smoke job failed: no such node (rolled back to v3)',
        }),
      ]),
    );
    expect(markdown).toContain('### Deploy: Modal, environment prod (real account)');
    expect(markdown).toContain(
      '| `poster` | modal | ✅ deployed v4 in 31.50 s, smoke job 4.00 s | v3 (a4cab58) |',
    );
    expect(markdown).toContain('- `placard`: Its smoke job failed: no such node');
    expect(markdown).toContain('**What to do**');
  });

  it('cannot be broken by what is in an error or a file name', () => {
    const evil = '</td>|<img src=x>`${x}`\n| a | b |';
    const markdown = documentMarkdown(
      documentOf(scope, [
        done('poster', { result: 'failed', error: evil, reasons: [{ file: evil, why: evil }] }),
      ]),
    );
    expect(markdown).not.toContain('<img');
    const rows = markdown.split('\n').filter((line) => line.startsWith('|'));
    expect(rows).toHaveLength(3);
  });

  it('is nothing where nothing is affected or has drifted', () => {
    const none = documentOf(scope, []);
    expect(documentText(none)).toBe('Modal prod, aaaaaaa..bbbbbbb: nothing to do');
    expect(documentMarkdown(none)).toContain('No endpoint is affected.');
    expect(driftText(documentOf(scope, [entry('poster', { action: 'unchanged' })]))).toContain(
      'is what bbbbbbb says',
    );
  });

  it('is an issue of what has drifted', () => {
    const document = documentOf(scope, [
      entry('poster'),
      entry('same', { action: 'unchanged', reasons: [] }),
      entry('gone', { action: 'undeploy', liveVersion: `registry.example/x@sha256:${'c'.repeat(64)}` }),
    ]);
    expect(driftMarkdown(document)).toContain('| Endpoint | Cloud | Drift | Live | Why |');
    expect(driftMarkdown(document)).toMatch(/poster[^]*cccccccccccc[^]*ryla undeploy/);
    expect(driftMarkdown(document)).not.toContain('`same`');
    expect(driftText(document)).toContain('to undeploy');
  });

  it('says of what somebody else made how it is taken over', () => {
    const why = 'flux (abc) was not made by ryla';
    const reasons = [{ input: 'live deployment', why }];
    const document = documentOf(scope, [entry('flux', { action: 'adopt', liveVersion: null, reasons })]);
    expect(documentText(document)).toContain(`! flux (modal): to adopt\n    live deployment: ${why}`);
    for (const text of [documentMarkdown(document), driftMarkdown(document)])
      expect(text).toMatch(/`ryla adopt (flux|<endpoint>)` takes/);
  });
});
