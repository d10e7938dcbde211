/** `ryla` as a user has it: a child process, against the local clouds with the real modal client and runpod worker. */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { sqliteJobStore } from '@ryla/business';
import { type EndpointBill, openShadows } from '@ryla/migration';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  createLiveWorkspace,
  ended,
  LIVE_MS,
  type LiveWorkspace,
  repositoryRoot,
  saidOn,
} from '../test-support/live-workspace.ts';

describe('ryla', () => {
  let workspace: LiveWorkspace;
  let root = '';
  const ryla: LiveWorkspace['ryla'] = (...args) => workspace.ryla(...args);

  beforeAll(async () => {
    workspace = await createLiveWorkspace();
    ({ root } = workspace);
  }, LIVE_MS);
  afterAll(() => workspace.close(), LIVE_MS);

  it(
    'runs a job and keeps it: one JSON document on stdout, everything else on stderr',
    { timeout: LIVE_MS },
    async () => {
      const run = await ryla('run', 'photo-finish', '--backend', 'runpod', '-i', 'width=64', '--json');
      expect(run.code, run.stderr).toBe(0);
      expect(run.stderr).toContain('Target: local clouds');
      const done = JSON.parse(run.stdout) as { jobId: string; outputs: string[] };
      expect((await readFile(done.outputs[0] ?? '')).subarray(1, 4).toString()).toBe('PNG');

      const status = await ryla('status', done.jobId, '--json');
      expect(JSON.parse(status.stdout)).toMatchObject({
        jobId: done.jobId,
        status: 'succeeded',
        attempt: 1,
        // As the real worker measured it; comfy-sim has no GPU.
        metrics: { bootMs: expect.any(Number) as number, encodeMs: expect.any(Number) as number, gpu: null },
      });
      expect((await ryla('status', done.jobId)).stdout).toContain('worker: start of ComfyUI');
      const jobs = await ryla('jobs', '--status', 'succeeded', '--since', '1h', '--json');
      expect(JSON.parse(jobs.stdout)).toMatchObject({
        jobs: [{ jobId: done.jobId, backend: 'runpod:photo-finish' }],
      });
      const watched = await ryla('watch', done.jobId);
      expect(watched.stderr).toContain('succeeded');
      expect(watched.stdout).toContain('; no GPU');
    },
  );

  it('says what is wrong, with the right exit code', { timeout: LIVE_MS }, async () => {
    const mistake = async (...args: readonly string[]): Promise<unknown> => {
      const { code, stdout, stderr } = await ryla(...args, '--json');
      expect([code, stdout]).toEqual([2, '']);
      return (JSON.parse(stderr.trim().split('\n').at(-1) ?? '') as { error: { code: string } }).error.code;
    };
    expect(await mistake('run', 'nothing')).toBe('usage');
    expect(await mistake('run', 'photo-finish', '-i', 'nothing=1')).toBe('unknown_input');
    expect(await mistake('run', 'photo-finish', '-i', 'width=1')).toBe('invalid_input');
    expect(await mistake('jobs', '--status', 'nothing')).toBe('usage');
    expect(await mistake('jobs', '--backend', 'runpod')).toBe('usage');
    expect((await ryla('nonsense')).code).toBe(2);
    expect((await ryla('jobs', '--limit', 'many')).code).toBe(2);
    expect((await ryla('--help')).code).toBe(0);
    const job = await ryla('status', '00000000-0000-4000-8000-000000000000');
    expect(job.stderr).toContain('unknown_job');
  });

  it('reads the bills of what ran there, with the real modal client', { timeout: LIVE_MS }, async () => {
    const file = path.join(root, 'ryla.migration.json');
    await writeFile(file, JSON.stringify({ endpoints: { 'photo-finish': { stage: 'off' } } }));
    // Where the modal client is started.
    await mkdir(path.join(root, 'apps/modal'), { recursive: true });
    try {
      const { code, stdout, stderr } = await ryla('migrate', 'report', '--bills', '1', '-o', root, '--json');
      expect(code, stderr).toBe(0);
      const { bills } = JSON.parse(stdout) as { bills: readonly EndpointBill[] };
      expect(bills).toMatchObject([
        {
          old: { backend: 'runpod:photo-finish', bill: { isKnown: true } },
          // Nothing is deployed there.
          new: { backend: 'modal:photo-finish', jobs: 0, bill: { isKnown: true, usd: 0 } },
        },
      ]);
      const old = bills[0]?.old;
      expect(old?.jobs).toBeGreaterThan(0);
      expect(old?.bill.isKnown === true && old.bill.usd > 0).toBe(true);
      expect(await readFile(path.join(root, 'report.html'), 'utf8')).toContain('A job, billed');
    } finally {
      await rm(file);
    }
  });

  it('hands over a shadow job too, where the migration is at shadow', { timeout: LIVE_MS }, async () => {
    const file = path.join(root, 'ryla.migration.json');
    const backends = { old: 'runpod:photo-finish', new: 'runpod:photo-shadow' };
    const migration = { stage: 'shadow', backends, shadow: { share: 1 } };
    await workspace.addEndpoint('photo-shadow');
    // It is sent there, and stays in the queue.
    await workspace.registerWorker('photo-shadow', { command: ['true'], idleTimeoutMs: 1_000 });
    await writeFile(file, JSON.stringify({ endpoints: { 'photo-finish': migration } }));
    await using store = await sqliteJobStore({ path: path.join(root, '.ryla/local/jobs.db') });
    const state = { stage: 'shadow', since: 1, evidenceSince: 1, hold: null, history: [] };
    await store.setState('migration/stage/photo-finish', state, 0);
    try {
      const submitted = await ryla('submit', 'photo-finish', '-i', 'width=96');
      expect(submitted.code, submitted.stderr).toBe(0);
      const real = submitted.stdout.trim();
      const { jobs } = await store.list({ tag: 'migration:shadow' });
      expect(jobs).toMatchObject([{ backend: backends.new, submission: 'submitted' }]);
      expect(jobs[0]?.tags).toContain(`migration:shadow:of:${real}`);
      // What it may cost is set aside, for whichever process sees it end.
      expect(await openShadows(store)).toMatchObject([{ endpoint: 'photo-finish', of: real }]);
    } finally {
      await rm(file);
    }
  });

  it('cancels its job on Ctrl-C', { timeout: LIVE_MS }, async () => {
    await workspace.fault('cold-start-latency-ms=20000');
    const child = workspace.start(['run', 'photo-finish', '--backend', 'runpod', '-i', 'width=128']);
    const end = ended(child);
    await saidOn(child.stderr, /^Job /m);
    child.kill('SIGINT');
    expect((await end).code).toBe(130);
    const jobs = await ryla('jobs', '--limit', '1', '--json');
    expect(JSON.parse(jobs.stdout)).toMatchObject({ jobs: [{ status: 'canceled' }] });
  });

  it(
    'reads what is stored when the clouds have gone, and says so of what needs them',
    { timeout: LIVE_MS },
    async () => {
      const file = path.join(root, '.local-clouds/environment.json');
      await rename(file, `${file}.gone`);
      try {
        expect((await ryla('jobs', '--json')).code).toBe(0);
        expect((await ryla('costs')).stderr).toContain('not running');
        const run = await ryla('run', 'photo-finish');
        expect([run.code, run.stderr]).toEqual([1, expect.stringContaining('npm run clouds')]);
        const doctor = await ryla('doctor', '--json');
        expect([doctor.code, doctor.stdout]).toEqual([
          1,
          expect.stringContaining('"local clouds","state":"broken"'),
        ]);
      } finally {
        await rename(`${file}.gone`, file);
      }
    },
  );

  it('refuses a configuration that would limit nothing', { timeout: LIVE_MS }, async () => {
    const file = path.join(root, 'ryla.config.ts');
    await writeFile(file, "export default { usdPerDay: { 'photo-finsh': 1 } };\n");
    try {
      const { code, stderr } = await ryla('jobs', '--json');
      expect([code, stderr]).toEqual([1, expect.stringContaining('invalid_configuration')]);
    } finally {
      await rm(file);
    }
  });

  it('keeps what a configuration prints out of --json', { timeout: LIVE_MS }, async () => {
    const file = path.join(root, 'ryla.config.ts');
    await writeFile(file, "console.log('loaded');\nexport default {};\n");
    try {
      const { code, stdout, stderr } = await ryla('jobs', '--json');
      expect([code, stderr]).toEqual([0, expect.stringContaining('loaded')]);
      expect(JSON.parse(stdout)).toBeTypeOf('object');
    } finally {
      await rm(file);
    }
  });

  it('finds what is broken', { timeout: LIVE_MS }, async () => {
    const sick = await ryla('doctor', '--json');
    const findings = JSON.parse(sick.stdout) as { check: string; state: string }[];
    expect(findings).toContainEqual(expect.objectContaining({ check: 'local clouds', state: 'ok' }));
    expect(findings).toContainEqual(
      expect.objectContaining({ check: 'modal:photo-finish', state: 'warning' }),
    );
  });

  it('converts and checks workflow files without any cloud', { timeout: LIVE_MS }, async () => {
    const workflow = path.join(repositoryRoot, 'apps/endpoints/photo-finish/workflow.json');
    const converted = await ryla('workflows', 'convert', workflow);
    expect(Object.keys(JSON.parse(converted.stdout) as object)).toContain('8');
    const clean = await ryla('workflows', 'lint', workflow);
    expect([clean.code, clean.stdout]).toEqual([0, '1 workflow, no problem\n']);
    const broken = path.join(root, 'broken.json');
    await writeFile(broken, '{"1":{"class_type":"NoSuchNode","inputs":{}}}');
    const lint = await ryla('workflows', 'lint', broken, '--sarif');
    expect(lint.code).toBe(1);
    expect(lint.stdout).toContain('"ruleId": "unknown_class"');
    expect(JSON.parse(lint.stdout)).toMatchObject({ version: '2.1.0' });
    const inspected = await ryla('workflows', 'inspect', workflow, '--json');
    expect(JSON.parse(inspected.stdout)).toMatchObject({ format: 'api', nodes: 8, outputs: [{ node: '8' }] });

    const changed = (await readFile(workflow, 'utf8')).replace('"alpha": 0.25', '"alpha": 0.5');
    const diff = await workspace.rylaReading(changed, 'workflows', 'diff', workflow, '-');
    expect([diff.code, diff.stdout]).toEqual([1, expect.stringContaining('alpha changed from 0.25 to 0.5')]);
    const svg = path.join(root, 'graph.svg');
    expect((await ryla('workflows', 'picture', workflow, '-o', svg)).code).toBe(0);
    expect(await readFile(svg, 'utf8')).toMatch(/^<svg/);
    const same = await ryla('workflows', 'convert', workflow, `${root}/workflow.json`, '--out-dir', root);
    expect([same.code, same.stderr]).toEqual([2, expect.stringContaining('would both be written')]);
    const missing = await ryla('workflows', 'inspect', workflow, 'nothing.json', '--json');
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('There is no such file')]);
    expect(JSON.parse(missing.stdout)).toMatchObject([{ format: 'api' }]);
  });
});
