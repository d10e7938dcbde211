/** `ryla` as a user has it: a child process, against the local clouds with the real modal client and runpod worker. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');
const START_MS = 60_000;

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

describe('ryla', () => {
  let root = '';
  let stopClouds: () => Promise<void> = () => Promise.resolve();

  /** Runs ryla in a workspace of its own, so that nothing of the developer's is touched. */
  async function ryla(...args: readonly string[]): Promise<Ended> {
    return ended(start(args));
  }

  function start(args: readonly string[]) {
    const main = path.join(import.meta.dirname, 'main.ts');
    return spawn(process.execPath, ['--conditions=@ryla/source', main, ...args], {
      cwd: root,
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  beforeAll(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'ryla-'));
    await writeFile(path.join(root, 'nx.json'), '{}');
    await mkdir(path.join(root, 'apps/endpoints'), { recursive: true });
    await cp(
      path.join(workspaceRoot, 'apps/endpoints/photo-finish'),
      path.join(root, 'apps/endpoints/photo-finish'),
      {
        recursive: true,
      },
    );
    await symlink(path.join(workspaceRoot, '.venv'), path.join(root, '.venv'));
    stopClouds = await startRunpod(root);
  }, START_MS);
  afterAll(async () => {
    await stopClouds();
    await rm(root, { recursive: true, force: true });
  }, START_MS);

  it(
    'runs a job and keeps it: one JSON document on stdout, everything else on stderr',
    { timeout: START_MS },
    async () => {
      const run = await ryla('run', 'photo-finish', '--backend', 'runpod', '-i', 'width=64', '--json');
      expect(run.code, run.stderr).toBe(0);
      expect(run.stderr).toContain('Target: local clouds');
      const done = JSON.parse(run.stdout) as { jobId: string; outputs: string[] };
      expect((await readFile(done.outputs[0] ?? '')).subarray(1, 4).toString()).toBe('PNG');

      const status = await ryla('status', done.jobId, '--json');
      expect(JSON.parse(status.stdout)).toMatchObject({ jobId: done.jobId, status: 'succeeded', attempt: 1 });
      const jobs = await ryla('jobs', '--status', 'succeeded', '--since', '1h', '--json');
      expect(JSON.parse(jobs.stdout)).toMatchObject({
        jobs: [{ jobId: done.jobId, backend: 'runpod:photo-finish' }],
      });
      const watched = await ryla('watch', done.jobId);
      expect(watched.stderr).toContain('succeeded');
    },
  );

  it('says what is wrong, with the right exit code', { timeout: START_MS }, async () => {
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

  it('cancels its job on Ctrl-C', { timeout: START_MS }, async () => {
    await fault(root, 'cold-start-latency-ms=20000');
    const child = start(['run', 'photo-finish', '--backend', 'runpod', '-i', 'width=128']);
    const end = ended(child);
    let said = '';
    await new Promise<void>((resolve) => {
      child.stderr.on('data', (piece: Buffer) => {
        said += piece.toString();
        if (/^Job /m.test(said)) resolve();
      });
      child.once('close', () => resolve());
    });
    child.kill('SIGINT');
    expect((await end).code).toBe(130);
    const jobs = await ryla('jobs', '--limit', '1', '--json');
    expect(JSON.parse(jobs.stdout)).toMatchObject({ jobs: [{ status: 'canceled' }] });
  });

  it(
    'reads what is stored when the clouds have gone, and says so of what needs them',
    { timeout: START_MS },
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

  it('refuses a configuration that would limit nothing', { timeout: START_MS }, async () => {
    const file = path.join(root, 'ryla.config.ts');
    await writeFile(file, "export default { usdPerDay: { 'photo-finsh': 1 } };\n");
    try {
      const { code, stderr } = await ryla('jobs', '--json');
      expect([code, stderr]).toEqual([1, expect.stringContaining('invalid_configuration')]);
    } finally {
      await rm(file);
    }
  });

  it('finds what is broken', { timeout: START_MS }, async () => {
    const sick = await ryla('doctor', '--json');
    const findings = JSON.parse(sick.stdout) as { check: string; state: string }[];
    expect(findings).toContainEqual(expect.objectContaining({ check: 'local clouds', state: 'ok' }));
    expect(findings).toContainEqual(
      expect.objectContaining({ check: 'modal:photo-finish', state: 'warning' }),
    );
  });

  it('converts and checks workflow files without any cloud', { timeout: START_MS }, async () => {
    const workflow = path.join(workspaceRoot, 'apps/endpoints/photo-finish/workflow.json');
    const converted = await ryla('workflows', 'convert', workflow);
    expect(Object.keys(JSON.parse(converted.stdout) as object)).toContain('8');
    const clean = await ryla('workflows', 'lint', workflow);
    expect([clean.code, clean.stdout]).toEqual([0, '1 workflows, no problem\n']);
    const broken = path.join(root, 'broken.json');
    await writeFile(broken, '{"1":{"class_type":"NoSuchNode","inputs":{}}}');
    const lint = await ryla('workflows', 'lint', broken, '--sarif');
    expect(lint.code).toBe(1);
    expect(lint.stdout).toContain('"ruleId": "unknown_class"');
    expect(JSON.parse(lint.stdout)).toMatchObject({ version: '2.1.0' });
    const inspected = await ryla('workflows', 'inspect', workflow, '--json');
    expect(JSON.parse(inspected.stdout)).toMatchObject({ format: 'api', nodes: 8, outputs: [{ node: '8' }] });
  });
});

function ended(child: ReturnType<typeof spawn>): Promise<Ended> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (piece: Buffer) => (stdout += piece.toString()));
  child.stderr?.on('data', (piece: Buffer) => (stderr += piece.toString()));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}

/** Starts the local clouds, registers the endpoint's RunPod worker, and leaves the file that says so. */
async function startRunpod(root: string): Promise<() => Promise<void>> {
  const bin = path.join(workspaceRoot, '.venv/bin');
  if (!existsSync(bin)) throw new Error('Run `npm run setup` first.');
  const state = path.join(root, '.local-clouds');
  const clouds = spawn(path.join(bin, 'local-clouds'), ['--state-dir', state, '--until-eof', '--json'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const closed = new Promise<void>((resolve) => clouds.once('close', () => resolve()));
  const line = await new Promise<string>((resolve) => {
    let text = '';
    clouds.stdout.on('data', (piece: Buffer) => {
      text += piece.toString();
      if (text.includes('\n')) resolve(text.split('\n')[0] ?? '');
    });
  });
  await mkdir(state, { recursive: true });
  await writeFile(path.join(state, 'environment.json'), line);
  const { runpod } = JSON.parse(line) as { runpod: { apiUrl: string } };
  const response = await fetch(`${runpod.apiUrl.replace(/\/v2$/, '')}/_local/endpoints/photo-finish`, {
    method: 'PUT',
    body: JSON.stringify({ command: [path.join(bin, 'python'), '-m', 'ryla_runpod'], idleTimeoutMs: 1_000 }),
  });
  expect(response.status).toBe(200);
  return async () => {
    clouds.stdin.end();
    await closed;
  };
}

async function fault(root: string, spec: string): Promise<void> {
  const text = await readFile(path.join(root, '.local-clouds/environment.json'), 'utf8');
  const { runpod } = JSON.parse(text) as { runpod: { apiUrl: string } };
  const url = `${runpod.apiUrl.replace(/\/v2$/, '')}/_local/faults`;
  expect((await fetch(url, { method: 'PUT', body: JSON.stringify([spec]) })).status).toBe(200);
}
