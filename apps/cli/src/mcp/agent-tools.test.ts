/** The parts of `ryla mcp` that need neither a client nor a cloud. */
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import type { JobRecord } from '@ryla/business';
import { parseEndpointConfig } from '@ryla/workflow';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { bearerToken, isAuthorized } from './bearer-token.ts';
import { endpointTool, NO_EXPERIENCE } from './endpoint-tool.ts';
import { expectedCost, experienceOf } from './expected-cost.ts';
import { fileArgument } from './file-argument.ts';
import { createServicePool } from './service-pool.ts';
import type { OpenOptions } from '../workspace.ts';
import { createSessionLimits } from './session-limits.ts';
import { createWorkspaceTools } from './workspace-tools.ts';

const endpoint = parseEndpointConfig({
  name: 'portrait',
  title: 'Portrait',
  description: 'Paints a portrait',
  workflow: 'workflow.json',
  inputs: {
    face: { type: 'image', node: '1', field: 'image', required: true },
    style: { type: 'enum', node: '2', field: 'style', values: ['oil', 'ink'], default: 'oil' },
    frame: { type: 'image', node: '3', field: 'image', default: 'frame.png' },
  },
  outputs: { picture: { node: '8', type: 'image' } },
  gpu: ['L4'],
  timeouts: { execution: 100, startup: 200 },
});

describe('an endpoint as a tool', () => {
  it('says what it makes, what it needs, and what it took', () => {
    const jobs = [1_000, 3_000, 2_000].map((ms, index) => ({
      createdAt: 0,
      finishedAt: ms,
      cost: { usd: (index + 1) / 100, estimated: false, gpu: 'L4', pricesOf: null },
    }));
    const tool = endpointTool(endpoint, experienceOf(jobs));
    expect(tool.description).toBe(
      'Portrait: Paints a portrait. Makes: picture (image). Needs: face. Takes about 2.00 s and costs about $0.02000 (median of its last 3 jobs); a machine that has to start first adds up to 200 s.',
    );
    expect(tool.inputSchema).toMatchObject({
      required: ['face'],
      additionalProperties: false,
      properties: { style: { enum: ['oil', 'ink'], default: 'oil' }, face: { type: 'string' } },
    });
    // The default is a file that an agent does not have.
    expect(tool.inputSchema.properties?.['frame']).not.toHaveProperty('default');
    expect(endpointTool(endpoint, NO_EXPERIENCE).description).toContain('at most 100 s of work');
  });

  it('may cost what the dearest of its last jobs did, else all the time that it may take', () => {
    const known = { jobs: 2, totalMs: 1, usd: 0.01, dearestUsd: 0.03 };
    expect(expectedCost(endpoint, known, {})).toBe(0.03);
    const ceiling = (gpu: string): number =>
      expectedCost({ ...endpoint, gpu: [gpu] }, NO_EXPERIENCE, {}) ?? 0;
    expect(ceiling('L4')).toBeGreaterThan(0.01);
    expect(ceiling('L4:2')).toBeGreaterThan(ceiling('L4'));
    expect(ceiling('no-such-card')).toBeGreaterThanOrEqual(ceiling('H200'));
  });
});

describe('files that agents name', () => {
  let root = '';
  let outside = '';

  beforeAll(async () => {
    const folder = await realpath(await mkdtemp(path.join(tmpdir(), 'ryla-files-')));
    [root, outside] = [path.join(folder, 'workspace'), path.join(folder, 'elsewhere')];
    await mkdir(root);
    await mkdir(outside);
    for (const file of [`${root}/a.png`, `${root}/.env`, `${outside}/b.png`, `${outside}/key.txt`])
      await writeFile(file, 'x');
    await symlink(`${outside}/b.png`, `${root}/link.png`);
    await symlink(`${root}/.env`, `${root}/env.png`);
  });
  afterAll(() => rm(path.dirname(root), { recursive: true }));

  const given = (text: string) => fileArgument('face', 'image', text, { root, folders: [root] });

  it('are media files in the folders that may be read, addresses, or data', async () => {
    expect(await given('a.png')).toEqual({ path: `${root}/a.png` });
    expect(await given(`file://${root}/a.png`)).toEqual({ path: `${root}/a.png` });
    expect(await given('https://example.com/a.png')).toEqual({ url: 'https://example.com/a.png' });
    expect(await given('data:image/png;base64,eHl6')).toEqual({
      name: 'data.png',
      bytes: Buffer.from('xyz'),
    });
  });

  it.each([
    ['.env', 'is no image file'],
    ['../elsewhere/b.png', '--files'],
    ['/etc/passwd.png', '--files'],
    ['link.png', '--files'],
    ['env.png', '--files'],
    ['none.png', 'there is no file'],
    ['http://example.com/a.png', 'https://'],
    ['ftp://example.com/a.png', 'https://'],
    ['data:text/html;base64,eHl6', 'is no image'],
    ['data:image/png,xyz', 'base64'],
    ['data:image/png;base64,', 'base64'],
  ])('are not %s', async (text, why) => {
    await expect(given(text)).rejects.toThrow(why);
  });

  it('never lead out of those folders, however they are written', async () => {
    const part = fc.constantFrom('..', '.', 'a', 'elsewhere', 'b.png', 'link.png', '/', '%2e%2e', '~', '\0');
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 6 }), async (parts) => {
        const file = await given(parts.join('/')).catch(() => undefined);
        if (file !== undefined && 'path' in file) expect(file.path.startsWith(`${root}/`)).toBe(true);
      }),
    );
  });
});

describe('limits of a session', () => {
  const record = (usd: number | null, status: JobRecord['status'] = 'succeeded', submission = 'submitted') =>
    Promise.resolve({
      status,
      submission,
      cost: usd === null ? null : { usd, estimated: false, gpu: null, pricesOf: null },
    } as JobRecord);

  it('counts what jobs may cost until it is known what they did cost', async () => {
    const limits = createSessionLimits({ maxUsd: 1 });
    await limits.reserve('a', 0.8, () => record(null, 'running'));
    await expect(limits.reserve('b', 0.8, () => record(null, 'running'))).rejects.toThrow('$1.6000');
    // The first turned out to be cheap.
    await limits.reserve('b', 0.8, () => record(0.1));
    expect(limits.usd).toBeCloseTo(0.9);
    await expect(limits.reserve('c', undefined, () => record(0))).rejects.toThrow('not known');
  });

  it('does not let calls at the same time past it together, and forgets jobs that never were', async () => {
    const limits = createSessionLimits({ maxJobs: 2, maxUsd: 10 });
    const running = () => record(null, 'running');
    const tried = await Promise.allSettled(['a', 'b', 'c', 'd'].map((id) => limits.reserve(id, 1, running)));
    expect(tried.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
    limits.giveBack('a');
    await limits.reserve('e', 1, running);
    expect(limits.started).toBe(2);
  });
});

it('takes the token and nothing like it', () => {
  const token = 'correct-horse-battery';
  expect(isAuthorized(`Bearer ${token}`, token)).toBe(true);
  expect(isAuthorized(`bearer  ${token}`, token)).toBe(true);
  for (const header of [
    undefined,
    '',
    token,
    `Basic ${token}`,
    `Bearer ${token}x`,
    `Bearer ${token} x`,
    'Bearer',
  ])
    expect(isAuthorized(header, token), header).toBe(false);
  expect(bearerToken({ RYLA_MCP_TOKEN: token })).toEqual({ token, isNew: false });
  expect(bearerToken({}).token).not.toBe(bearerToken({}).token);
});

it('replaces the service when the workspace is another, and closes the old one when its last user is done', async () => {
  const events: string[] = [];
  let version = '1';
  const pool = createServicePool(
    () => {
      const name = version;
      const close = () => {
        events.push(`closed ${name}`);
        return Promise.resolve();
      };
      return Promise.resolve({ service: { close }, unusable: new Map() } as never);
    },
    () => version,
  );
  const held = Promise.withResolvers<undefined>();
  const first = pool.use(() => held.promise);
  version = '2';
  await pool.use(() => Promise.resolve(events.push('used 2')));
  held.resolve(undefined);
  await first;
  expect(events).toEqual(['used 2', 'closed 1']);
  await pool.close();
  expect(events).toEqual(['used 2', 'closed 1', 'closed 2']);
});

it('shadows the jobs of agents, and says once what went wrong beside them', async () => {
  const notes: string[] = [];
  let given: OpenOptions | undefined;
  const workspace = {
    ...({ root: '/nowhere', target: 'cloud', config: {}, env: {}, file: undefined } as const),
    endpointNames: () => [],
    endpoint: () => expect.fail('there is none'),
    open: (options?: OpenOptions) => {
      given = options;
      return Promise.reject(new Error('not here'));
    },
  };
  const tools = createWorkspaceTools({
    workspace,
    access: { root: '/nowhere', folders: [] },
    limits: createSessionLimits({ maxJobs: undefined, maxUsd: undefined }),
    note: (text) => notes.push(text),
    out: '/nowhere/out',
    ...{ inlineBytes: 0, waitMs: 0, closing: new AbortController().signal },
  });
  await tools.list();
  expect(given?.shadows).toBe(true);
  notes.length = 0;
  for (const text of ['away', 'away', 'back']) given?.onProblem?.(new Error(text));
  expect(notes).toEqual(['Beside the jobs: away', 'Beside the jobs: back']);
  await tools.close();
});
