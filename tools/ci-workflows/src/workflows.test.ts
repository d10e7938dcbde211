/** Rules that every workflow keeps. The linters of `npm run lint:workflows` know more; these need nothing installed. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { readActions, readWorkflows, type Step } from './workflow-files.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const workflows = readWorkflows(ROOT);
const actions = readActions(ROOT);
const files = [...workflows, ...actions];

/** Workflows that reach an account, a registry or npm. */
const DEPLOYING = ['deploy-modal', 'deploy-runpod', 'drift', 'preview', 'release'];

const jobs = workflows.flatMap(({ id, content }) =>
  Object.entries(content.jobs).map(([name, job]) => ({ id, name: `${id}/${name}`, job })),
);
const steps: { readonly where: string; readonly step: Step }[] = [
  ...jobs.flatMap(({ name, job }) => job.steps.map((step) => ({ where: name, step }))),
  ...actions.flatMap(({ id, content }) => content.runs.steps.map((step) => ({ where: id, step }))),
];

function workflow(id: string) {
  const found = workflows.find((each) => each.id === id);
  if (found === undefined) throw new Error(`There is no workflow ${id}.`);
  return found;
}

describe('every workflow', () => {
  it('is one of those that docs/ci.md describes', () => {
    expect(workflows.map(({ id }) => id)).toEqual([
      'ci',
      'deploy-modal',
      'deploy-runpod',
      'drift',
      'preview',
      'release',
      'security',
    ]);
  });

  it.each(files)('$id pins each action by commit and names its version', ({ text }) => {
    for (const line of text.split('\n').filter((each) => /^\s*(?:- )?uses:/.test(each))) {
      if (line.includes('uses: ./')) continue;
      expect(line).toMatch(/uses: [\w.-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
    }
  });

  it('pins an action to one commit everywhere', () => {
    const pins = new Map<string, Set<string>>();
    for (const { step } of steps) {
      const [, repository, commit] = /^([\w.-]+\/[\w.-]+)(?:\/[\w./-]+)?@(.+)$/.exec(step.uses ?? '') ?? [];
      if (repository === undefined || commit === undefined) continue;
      pins.set(repository, (pins.get(repository) ?? new Set()).add(commit));
    }
    for (const [repository, commits] of pins) expect([repository, commits.size]).toEqual([repository, 1]);
    expect(pins.size).toBeGreaterThan(5);
  });

  it.each(workflows)('$id gives no permission to all of its jobs', ({ content }) => {
    expect(content.permissions).toEqual({});
  });

  it.each(jobs)('$name has its own permissions and a timeout', ({ job }) => {
    expect(job.permissions).toBeTypeOf('object');
    expect(job['timeout-minutes']).toBeLessThanOrEqual(90);
  });

  it.each(workflows)('$id has a concurrency group', ({ content }) => {
    expect(content.concurrency?.group).toMatch(/\S/);
  });

  it('is never started by what a stranger writes', () => {
    const events = workflows.flatMap(({ content }) => Object.keys(content.on));
    expect(events).not.toContain('pull_request_target');
    expect(events).not.toContain('workflow_run');
    expect(events).not.toContain('issue_comment');
  });
});

describe('every step', () => {
  it('puts no expression into a shell or a program', () => {
    for (const { where, step } of steps) {
      expect([where, step.run ?? '']).toEqual([where, expect.not.stringContaining('${{')]);
      expect([where, JSON.stringify(step.with?.['script'] ?? '')]).toEqual([
        where,
        expect.not.stringContaining('${{'),
      ]);
    }
  });

  it('leaves no credentials in a checkout', () => {
    const checkouts = steps.filter(({ step }) => step.uses?.startsWith('actions/checkout@'));
    expect(checkouts.length).toBeGreaterThan(5);
    for (const { where, step } of checkouts)
      expect([where, step.with?.['persist-credentials']]).toEqual([where, false]);
  });

  it('has the whole history where commits are compared', () => {
    const compares = /nx-set-shas|--base|changeset |ryla deploy|\.ci\/run|scan:secrets/;
    for (const { name, job } of jobs) {
      if (!job.steps.some(({ uses = '', run = '' }) => compares.test(uses + run))) continue;
      const checkout = job.steps.find(({ uses }) => uses?.startsWith('actions/checkout@'));
      expect([name, checkout?.with?.['fetch-depth']]).toEqual([name, 0]);
    }
  });

  it('restores no cache that another run could have written', () => {
    for (const { where, step } of steps) {
      const { uses = '' } = step;
      expect([where, uses]).toEqual([where, expect.not.stringMatching(/^actions\/cache/)]);
      if (uses.startsWith('actions/setup-node@'))
        expect([where, step.with]).toEqual([
          where,
          expect.objectContaining({ 'package-manager-cache': false }),
        ]);
      expect([where, step.with?.['cache']]).toEqual([where, undefined]);
      expect([where, JSON.stringify(step.with?.['cache-from'] ?? '')]).toEqual([
        where,
        expect.not.stringContaining('gha'),
      ]);
    }
  });

  it('gets secrets one by one, in its own environment', () => {
    for (const { id, text } of files) {
      expect([id, text]).toEqual([id, expect.not.stringMatching(/toJSON\(secrets\)|secrets: inherit/)]);
      const parts = text.split('\n').filter((line) => line.includes('secrets.'));
      for (const line of parts)
        expect([id, line]).toEqual([
          id,
          expect.stringMatching(/^ {10}[A-Z_]+: \$\{\{ secrets\.[A-Z_]+ \}\}$/),
        ]);
    }
  });

  it('names programs of the repository that are there', () => {
    const named = steps.flatMap(({ step }) => (step.run ?? '').match(/(?:tools|\.ci)\/[\w./-]+/g) ?? []);
    expect(named.length).toBeGreaterThan(5);
    for (const file of named) expect([file, existsSync(path.join(ROOT, file))]).toEqual([file, true]);
    const { scripts } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
      scripts: object;
    };
    const called = steps.flatMap(({ step }) => {
      const text = [step.run, step.with?.['script'], step.with?.['version-script']].join('\n');
      return [...text.matchAll(/npm run ([\w:-]+)/g)].map(([, name = '']) => name);
    });
    for (const name of called) expect(Object.keys(scripts)).toContain(name);
  });
});

describe('workflows that change something', () => {
  it.each(DEPLOYING)('%s never cancels half-way', (id) => {
    expect(workflow(id).content.concurrency?.['cancel-in-progress']).toBe(false);
  });

  it.each(['deploy-modal', 'deploy-runpod'])(
    '%s deploys main only, behind its environment, once at a time',
    (id) => {
      const { content } = workflow(id);
      expect(content.concurrency?.group).toBe(`${id}-production`);
      const { deploy, plan = deploy } = content.jobs;
      expect(String(plan?.if)).toContain("github.ref == 'refs/heads/main'");
      expect(deploy?.environment).toBe(`${id.replace('deploy-', '')}-production`);
    },
  );

  it.each(['deploy-modal', 'deploy-runpod'])('%s never guesses its base', (id) => {
    const lookups = Object.values(workflow(id).content.jobs)
      .flatMap((job) => job.steps)
      .filter(({ uses }) => uses?.startsWith('nrwl/nx-set-shas@'));
    expect(lookups.map((step) => step.with?.['last-successful-event'])).toEqual([
      'push',
      'workflow_dispatch',
    ]);
    for (const { with: inputs } of lookups) {
      expect(inputs).toMatchObject({
        'workflow-id': `${id}.yml`,
        'error-on-no-successful-workflow': true,
        'set-environment-variables-for-job': false,
      });
    }
  });

  it.each(['deploy-modal', 'deploy-runpod'])(
    '%s starts for everything that can change a deployment',
    (id) => {
      const { paths } = workflow(id).content.on['push'] as { paths: string[] };
      for (const glob of [
        'apps/**',
        'libs/**',
        'tools/**',
        '*.json',
        '*.toml',
        'uv.lock',
        `.github/workflows/${id}.yml`,
      ])
        expect(paths).toContain(glob);
    },
  );

  it('preview never runs for a fork, and what it removes it finds on main', () => {
    const { deploy, remove } = workflow('preview').content.jobs;
    for (const job of [deploy, remove])
      expect(String(job?.if)).toContain('github.event.pull_request.head.repo.full_name == github.repository');
    expect(remove?.steps[0]?.with?.['ref']).toBe('${{ github.event.pull_request.base.sha }}');
  });

  it('only a pull request of a release, a tag and an issue are written to the repository', () => {
    const writers = jobs.flatMap(({ name, job }) =>
      Object.entries(job.permissions ?? {})
        .filter(([, access]) => access === 'write')
        .map(([permission]) => `${name} ${permission}`),
    );
    expect(writers.sort()).toEqual([
      'deploy-runpod/image packages',
      'drift/compare issues',
      'release/publish contents',
      'release/publish id-token',
      'release/version contents',
      'release/version pull-requests',
    ]);
  });
});

it('the one required check of ci waits for every other job', () => {
  const { required, ...others } = workflow('ci').content.jobs;
  expect(required?.['needs']).toEqual(Object.keys(others));
  expect(required?.if).toBe('always()');
});
