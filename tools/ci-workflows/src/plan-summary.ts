/** The deploy plan of a pull request as a job summary: against what is live where there are credentials, else base and head. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';

import { z } from 'zod';

import { addSummary, runStep } from './step-output.ts';

type Variables = Readonly<Record<string, string | undefined>>;

/** Variables that let a plan read a cloud. */
const CREDENTIALS = {
  modal: ['MODAL_TOKEN_ID', 'MODAL_TOKEN_SECRET'],
  runpod: ['RUNPOD_API_KEY'],
} as const;

const PROVIDERS = ['modal', 'runpod'] as const;
const CLOUD = { modal: 'Modal', runpod: 'RunPod' } as const;

/** A cloud. */
export type Provider = (typeof PROVIDERS)[number];

/** Clouds that can be read, and those that cannot. A fork's pull request can read none. */
export function readableClouds(env: Variables): {
  readonly known: readonly Provider[];
  readonly unknown: readonly Provider[];
} {
  const isKnown = (provider: Provider): boolean =>
    CREDENTIALS[provider].every((name) => (env[name] ?? '') !== '');
  return { known: PROVIDERS.filter(isKnown), unknown: PROVIDERS.filter((provider) => !isKnown(provider)) };
}

/** Markdown of a plan that knows nothing of what is live. */
export function candidatesMarkdown(providers: readonly Provider[], endpoints: readonly string[]): string {
  const names = providers.map((provider) => CLOUD[provider]).join(' and ');
  const found =
    endpoints.length === 0
      ? 'No endpoint is affected.'
      : ['| Endpoint |', '| --- |', ...endpoints.map((endpoint) => `| \`${endpoint}\` |`)].join('\n');
  return [
    `### Deploy plan: ${names}, base and head only`,
    '',
    'This run has no credentials, as in every pull request of a fork, so what is live is not known. These endpoints are affected ' +
      'by the change; after the merge, each is compared with what is live, and deployed only if it differs.',
    '',
    found,
    '',
  ].join('\n');
}

function affectedEndpoints(base: string, head: string): string[] {
  const args = ['nx', 'show', 'projects', '--affected', '--base', base, '--head', head, '--json'];
  const { status, stdout, stderr } = spawnSync('npx', ['--no', ...args, '--projects', 'tag:type:endpoint'], {
    encoding: 'utf8',
    env: { ...process.env, NX_DAEMON: 'false' },
  });
  if (status !== 0) throw new Error(`nx show projects failed:\n${stderr}${stdout}`);
  return z.array(z.string()).parse(JSON.parse(stdout)).sort();
}

function planWithLive(provider: Provider, target: string, base: string, head: string): boolean {
  const environment = provider === 'modal' ? (process.env['MODAL_ENVIRONMENT'] ?? '') : '';
  const args = [
    'ryla',
    'deploy',
    '--affected',
    '--base',
    base,
    '--head',
    head,
    '--provider',
    provider,
    '--plan',
  ];
  const { GITHUB_STEP_SUMMARY: file = '' } = process.env;
  const { status } = spawnSync(
    'npx',
    [
      '--no',
      ...args,
      '--target',
      target,
      ...(environment === '' ? [] : ['--environment', environment]),
      ...(file === '' ? [] : ['--summary', file]),
    ],
    { stdio: 'inherit' },
  );
  return status === 0;
}

if (process.argv[1] === path.resolve(import.meta.filename)) {
  await runStep(() => {
    const { NX_BASE: base = '', NX_HEAD: head = '' } = process.env;
    const [option, target = ''] = process.argv.slice(2);
    if (option !== '--target' || target === '')
      throw new Error('Usage: plan-summary.ts --target cloud|local');
    if (base === '' || head === '') throw new Error('NX_BASE and NX_HEAD are needed: nx-set-shas sets them.');
    const { known, unknown } = readableClouds(process.env);
    const failed = known.filter((provider) => !planWithLive(provider, target, base, head));
    if (unknown.length > 0) addSummary(candidatesMarkdown(unknown, affectedEndpoints(base, head)));
    if (failed.length > 0) throw new Error(`No plan could be made for ${failed.join(' and ')}.`);
  });
}
