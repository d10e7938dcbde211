import assert from 'node:assert/strict';

import { beforeAll, describe, expect, it } from 'vitest';

import { ComfyUIServiceError } from '@ryla/business';

import { compareBackends } from '../compare/compare.ts';
import type { Comparison } from '../compare/comparison.ts';
import { hills, pictureFile } from '../compare/pictures.fixture.ts';
import { scriptedEndpoint, scriptedService } from '../compare/scripted-service.fixture.ts';
import { jobsTable } from './downloads.ts';
import { escaped, html } from './markup.ts';
import { createReport, type Report } from './report.ts';

/** What a stranger may put into a prompt, a file name or an error. */
const HOSTILE = `</script><script>alert(1)</script>"'><img src=x onerror=alert(2)> & | \`**x**\` [a](https://evil.example) \u0000`;

let comparison: Comparison;
let report: Report;

beforeAll(async () => {
  comparison = await compareBackends({
    service: scriptedService(async (backend, nth, { seed }) => {
      if (backend === 'modal' && nth === 3)
        return { error: new ComfyUIServiceError('backend_error', HOSTILE) };
      const picture = await pictureFile(
        'png',
        64,
        48,
        hills(backend === 'modal' && seed === 2 ? 9 : 1, 1, nth),
      );
      return {
        executionMs: 1_000 + nth,
        coldStartMs: nth === 0 ? 9_000 : 0,
        outputs: [
          [`${HOSTILE}.png`, picture],
          ['v.mp4', Buffer.from(`....ftyp${backend}`), 'video'],
        ],
      };
    }),
    endpoint: scriptedEndpoint,
    inputs: Array.from({ length: 8 }, (_, seed) => ({ seed, prompt: HOSTILE })),
    old: { backend: 'runpod', idleSeconds: 5 },
    new: { backend: 'modal', idleSeconds: 60 },
    runs: 8,
  });
  report = await createReport({
    comparisons: [comparison, { ...comparison, endpoint: HOSTILE }],
    volumes: { scripted: { jobsPerMonth: 60_000, hoursPerDay: 16 } },
    title: `Report ${HOSTILE}`,
    createdAt: new Date('2026-11-25T12:00:00Z'),
  });
});

describe('the HTML report', () => {
  it('runs and asks for nothing, whatever a prompt, a name or an error contains', () => {
    assert.doesNotMatch(report.html, /<script|<img src=x/i);
    const tags = report.html.match(/<[a-z](?:"[^"]*"|[^>"])*>/gi) ?? [];
    const addresses = tags.flatMap((tag) =>
      [...tag.matchAll(/\s(?:src|href|xlink:href|action|srcset)="([^"]*)"/gi)].map(([, to]) => to),
    );
    assert.ok(addresses.length > 20);
    assert.ok(addresses.every((to) => to?.startsWith('data:') === true || /^#endpoint-\d$/.test(to ?? '')));
    assert.doesNotMatch(report.html.replaceAll(/base64,[^"]*/g, ''), /url\(|@import/i);
    assert.match(
      report.html,
      /<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;;/,
    );
    assert.ok(report.html.includes(escaped(HOSTILE)));
  });

  it('says the verdict in a sentence, and has a row for each endpoint', () => {
    assert.match(report.html, /0 of 2 endpoints are ready to move; not ready: scripted, /);
    expect(report.html.match(/<th scope="row">\s*<a href="#endpoint-1">scripted<\/a>/g)).toHaveLength(1);
    assert.match(report.html, /1 of 8 jobs failed on the new side, 0 of 16 on the old\./);
    assert.match(report.html, /At the team&#39;s volume a month costs \$[\d,]+, \$[\d,]+ on the old side\./);
    assert.match(report.html, /of it is idle time: a worker of the new side stays 60 s after a job/);
  });

  it('has the charts, the pictures with their difference, and the rest in words', () => {
    expect(report.html.match(/<svg /g)).toHaveLength(6);
    assert.match(report.html, /stroke="var\(--new\)"/);
    expect(report.html.match(/<figcaption>difference<\/figcaption>/g)).toHaveLength(14);
    assert.match(report.html, /v\.mp4: The bytes differ/);
  });

  it('carries the raw data', () => {
    const [, data = ''] =
      /download="scripted\.comparison\.json"\s+href="data:application\/json;base64,([^"]+)"/.exec(
        report.html,
      ) ?? [];
    assert.deepEqual(JSON.parse(Buffer.from(data, 'base64').toString()), { ...comparison, thumbnails: [] });
    assert.match(report.html, /download="scripted\.jobs\.csv"/);
  });

  it('can be made of a comparison in which nothing worked', async () => {
    const service = scriptedService(() => ({ error: new ComfyUIServiceError('backend_error', 'Broken.') }));
    const empty = await compareBackends({
      ...{ service, endpoint: scriptedEndpoint, inputs: [{}], runs: 1 },
      ...{ old: { backend: 'a' }, new: { backend: 'b' } },
    });
    const { html: text, markdown } = await createReport({
      comparisons: [empty],
      volumes: { scripted: { jobsPerMonth: 1 } },
    });
    assert.match(text, /There are no pictures to show/);
    assert.match(markdown, /No outputs were compared/);
    assert.doesNotMatch(text + markdown, /NaN|undefined|Infinity/);
  });
});

describe('the other forms', () => {
  it('are Markdown in which nothing is markup that was not meant', () => {
    assert.doesNotMatch(report.markdown, /[^\\](?:<script|<img|\[a\])|\0/);
    for (const line of report.markdown.split('\n').filter((each) => each.startsWith('|')))
      assert.ok(line.endsWith(' |'), line);
    assert.match(report.markdown, /^## scripted: not ready$/m);
  });

  it('are JSON with the comparison and the projection', () => {
    const usdPerMonth = expect.any(Number) as number;
    expect(JSON.parse(report.json)).toMatchObject({
      version: 2,
      endpoints: [
        {
          endpoint: 'scripted',
          comparison,
          projected: { new: { usdPerMonth } },
          migration: null,
          bill: null,
        },
        {},
      ],
    });
  });

  it('are a table of jobs that a spreadsheet does not run', () => {
    const jobs = comparison.jobs.slice(0, 1).map((job) => ({ ...job, gpu: '=HYPERLINK("x")' }));
    const [heading, line] = jobsTable({ ...comparison, jobs }).split('\r\n');
    assert.match(heading ?? '', /^id,run,arm,backend,/);
    assert.match(line ?? '', /,"'=HYPERLINK\(""x""\)",/);
  });
});

describe('markup', () => {
  it('takes every value for text, in attributes too', () => {
    assert.equal(
      html`<a title="${`"'<&>`}">${['<b>', html`<i>${1}</i>`, undefined]}</a>`.toString(),
      '<a title="&quot;&#39;&lt;&amp;&gt;">&lt;b&gt;<i>1</i></a>',
    );
  });
});
