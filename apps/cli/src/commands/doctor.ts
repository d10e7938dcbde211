import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

import { createHttpClient } from '@ryla/business';
import type { BackendKind, CLOUD_VARIABLES } from '@ryla/business/config';
import {
  backendName,
  backendsOf,
  openStore,
  sharesOf,
  stateFolder,
  type Target,
  variableName,
} from '@ryla/business/config';
import { readLocalClouds } from '@ryla/business/local-clouds';
import type { EndpointConfig } from '@ryla/workflow';
import type { Command } from 'commander';

import { EXIT } from '../exit-codes.ts';
import { createOutput } from '../output.ts';
import { findWorkspace, type Workspace } from '../workspace.ts';
import { claimFindings } from './claim-findings.ts';
import { common, type CommonOptions } from './common-options.ts';

/** What a check found. */
export interface Finding {
  readonly check: string;
  readonly state: 'ok' | 'warning' | 'broken';
  readonly message: string;
  /** What to do about it. */
  readonly advice?: string;
}

/** Milliseconds for an answer from the network. */
const ANSWER_MS = 10_000;

/** Milliseconds by which two clocks may differ: webhooks are refused beyond 300 s, leases last 30 s. */
const CLOCK_MS = 10_000;

/** Adds `ryla doctor`. */
export function addDoctor(program: Command): void {
  common(program.command('doctor'))
    .description('check configuration, keys, programs, clocks and reachability, and say what to do')
    .action(async (options: CommonOptions) => {
      const output = createOutput(options.json === true);
      const findings = await diagnose(options.target);
      const signs = { ok: 'ok     ', warning: 'warning', broken: 'BROKEN ' } as const;
      const lines = findings.map(({ check, state, message, advice }) => {
        const first = `${signs[state]}  ${check}: ${message}`;
        return advice === undefined ? first : `${first}\n         ${advice}`;
      });
      output.result(findings, lines.join('\n'));
      if (findings.some(({ state }) => state === 'broken')) process.exitCode = EXIT.failed;
    });
}

/** Makes all checks of a target. */
export async function diagnose(target: Target): Promise<Finding[]> {
  let workspace: Workspace;
  try {
    workspace = await findWorkspace(target);
  } catch (error) {
    const advice = 'docs/cli.md lists what ryla.config.ts may say.';
    return [{ check: 'configuration', state: 'broken', message: messageOf(error), advice }];
  }
  const findings: Finding[] = [
    {
      check: 'configuration',
      state: 'ok',
      message: workspace.file ?? 'no ryla.config.ts: the defaults apply',
    },
    ...endpointFindings(workspace),
    await storeFinding(workspace),
    ...(await programFindings(workspace)),
  ];
  findings.push(...(target === 'local' ? await localFindings(workspace) : cloudFindings(workspace)));
  if (!findings.some(({ check, state }) => check === 'local clouds' && state === 'broken'))
    findings.push(...(await deploymentFindings(workspace)));
  // The local clouds have this machine's own clock.
  if (target === 'cloud') findings.push(await clockFinding('https://api.runpod.ai/'));
  return findings;
}

function endpointFindings(workspace: Workspace): Finding[] {
  return workspace.endpointNames().flatMap((name): Finding[] => {
    try {
      workspace.endpoint(name);
      return [];
    } catch (error) {
      const advice = `npx nx validate ${name}`;
      return [{ check: `endpoint ${name}`, state: 'broken', message: messageOf(error), advice }];
    }
  });
}

async function storeFinding(workspace: Workspace): Promise<Finding> {
  const folder = stateFolder(workspace);
  try {
    await using store = await openStore(workspace);
    const owner = randomUUID();
    // A write that leaves nothing behind; it is on disk when it returns.
    await store.acquireLease('doctor', { owner, ms: ANSWER_MS });
    await store.releaseLease('doctor', owner);
    return { check: 'job store', state: 'ok', message: path.join(folder, 'jobs.db') };
  } catch (error) {
    const advice =
      'Make the folder writable, or set `state` in ryla.config.ts. A store of a newer release needs that release.';
    return { check: 'job store', state: 'broken', message: messageOf(error), advice };
  }
}

async function programFindings({ root }: Workspace): Promise<Finding[]> {
  const bin = path.join(root, '.venv/bin');
  const installed = (name: string): string[] => [
    '-c',
    `from importlib.metadata import version; print(version('${name}'))`,
  ];
  const lock = path.join(root, 'uv.lock');
  const pins = existsSync(lock) ? readFileSync(lock, 'utf8') : '';
  const programs: readonly ProgramCheck[] = [
    // Only to install: a workspace that is installed works without them.
    { name: 'npm', file: 'npm', args: ['--version'], wanted: { minimum: '11' }, optional: true },
    { name: 'uv', file: path.join(root, '.tools/bin/uv'), args: ['--version'], optional: true },
    { name: 'python', file: path.join(bin, 'python'), args: ['--version'], wanted: { minimum: '3.11' } },
    ...['modal', 'runpod'].map((name) => {
      const exact = pinned(pins, name);
      const file = path.join(bin, 'python');
      return { name, file, args: installed(name), ...(exact === undefined ? {} : { wanted: { exact } }) };
    }),
  ];
  const node = versionFinding(
    { name: 'node', wanted: { minimum: '22.19' } },
    process.versions.node,
    'Run ryla through npx; .nvmrc names the version.',
  );
  return [node, ...(await Promise.all(programs.map(programFinding)))];
}

/** What a program's version must be. */
type Wanted = { readonly minimum: string } | { readonly exact: string };

interface ProgramCheck {
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly wanted?: Wanted;
  /** Whether jobs can be sent without it. */
  readonly optional?: boolean;
}

async function programFinding(check: ProgramCheck): Promise<Finding> {
  const { name, file, args, optional = false } = check;
  const advice = name === 'npm' ? 'Install npm 11 or newer.' : 'npm run setup makes the Python environment.';
  try {
    const { stdout, stderr } = await promisify(execFile)(file, [...args], { timeout: ANSWER_MS });
    const found = versionFinding(check, stdout || stderr, advice);
    return found.state === 'broken' && optional ? { ...found, state: 'warning' } : found;
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    const message = isMissing ? 'it is not there' : messageOf(error);
    return { check: name, state: optional ? 'warning' : 'broken', message, advice };
  }
}

/** Compares the version in what a program says with the one that is wanted. */
export function versionFinding(
  { name, wanted }: { readonly name: string; readonly wanted?: Wanted },
  said: string,
  advice: string,
): Finding {
  const version = /\d+(?:\.\d+)+/.exec(said)?.[0];
  if (version === undefined)
    return { check: name, state: 'broken', message: `no version in "${said.trim()}"`, advice };
  if (wanted === undefined) return { check: name, state: 'ok', message: version };
  const isRight =
    'exact' in wanted ? version === wanted.exact : version.localeCompare(wanted.minimum, 'en', NUMERIC) >= 0;
  if (isRight) return { check: name, state: 'ok', message: version };
  const needed = 'exact' in wanted ? `${wanted.exact}, as uv.lock has it,` : `${wanted.minimum} or newer`;
  return { check: name, state: 'broken', message: `${version}, but ${needed} is needed`, advice };
}

const NUMERIC = { numeric: true } as const;

/** The version that a uv.lock pins a package to. */
export function pinned(lock: string, name: string): string | undefined {
  return new RegExp(`^name = "${name}"\\r?\\nversion = "([^"]+)"`, 'm').exec(lock)?.[1];
}

async function localFindings({ root }: Workspace): Promise<Finding[]> {
  const http = createHttpClient();
  try {
    const { modal, runpod } = readLocalClouds(root);
    // The file may be what clouds that were killed have left.
    for (const url of [modal.webUrl, runpod.apiUrl]) {
      const signal = AbortSignal.timeout(ANSWER_MS);
      const response = await http.send({ method: 'GET', url: new URL('/_local/state', url), signal });
      await response.body.dump();
    }
    return [
      { check: 'local clouds', state: 'ok', message: `Modal ${modal.webUrl}, RunPod ${runpod.apiUrl}` },
    ];
  } catch (error) {
    return [{ check: 'local clouds', state: 'broken', message: messageOf(error), advice: 'npm run clouds' }];
  } finally {
    await http.close();
  }
}

function cloudFindings(workspace: Workspace): Finding[] {
  const { env, config } = workspace;
  const names = config.runcomfy === undefined ? VARIABLES : [...VARIABLES, 'runcomfyApiKey' as const];
  const findings = names.map((name): Finding => {
    const variable = variableName(workspace, name);
    const isThere = (env[variable] ?? '') !== '';
    // Whether it is missed is said of the deployments below: not every endpoint needs each.
    return isThere
      ? { check: variable, state: 'ok', message: 'it is set' }
      : { check: variable, state: 'warning', message: 'it is not set', advice: ADVICE[name] };
  });
  if (config.cloud?.runpodClaims !== true) {
    findings.push({
      check: 'RunPod claims',
      state: 'warning',
      message:
        'a RunPod submission whose answer is lost is never sent again: nobody can tell whether it runs',
      advice:
        'Give the endpoints a network volume or a bucket, and set cloud.runpodClaims in ryla.config.ts: docs/backends.md, "RunPod: each job once".',
    });
  }
  return [...findings, ...claimFindings(config, soundEndpoints(workspace))];
}

function soundEndpoints(workspace: Workspace): EndpointConfig[] {
  return workspace.endpointNames().flatMap((name) => {
    try {
      return [workspace.endpoint(name).config];
    } catch {
      return []; // told above
    }
  });
}

const VARIABLES = [
  'modalWorkspace',
  'modalProxyKey',
  'modalProxySecret',
  'bearerToken',
  'runpodApiKey',
] as const satisfies readonly (keyof typeof CLOUD_VARIABLES)[];

const ADVICE: Readonly<Record<keyof typeof CLOUD_VARIABLES, string>> = {
  modalWorkspace: 'The name in front of `--` in the URLs of your Modal apps.',
  modalEnvironment: 'The Modal environment of the deployments, where it is not the default one.',
  modalWebSuffix: '`modal environment list` shows it.',
  modalProxyKey: "Make a proxy auth token in Modal's settings; endpoints with the auth modal-proxy need it.",
  modalProxySecret: 'The other half of the proxy auth token.',
  bearerToken: 'The token in the Modal secret ryla-secrets; endpoints with the auth bearer need it.',
  runpodApiKey: "Make an API key in RunPod's settings.",
  runcomfyApiKey: "The API token of RunComfy's profile page; endpoints with a deployment there need it.",
};

async function deploymentFindings(workspace: Workspace): Promise<Finding[]> {
  const { service, unusable } = await workspace.open();
  await using jobs = service;
  const health = await jobs.health({ signal: AbortSignal.timeout(ANSWER_MS) });
  const names = workspace.endpointNames().flatMap((endpoint) =>
    backendsOf(workspace.config, endpoint).map((provider) => ({
      endpoint,
      provider,
      name: backendName(provider, endpoint),
    })),
  );
  return names.map(({ endpoint, provider, name }): Finding => {
    // Where real jobs are to go must work; on this machine an endpoint need not be deployed.
    const isNeeded = workspace.target === 'cloud' && sharesOf(workspace.config, endpoint)[provider] > 0;
    const trouble = isNeeded ? 'broken' : 'warning';
    const missing = unusable.get(name);
    if (missing !== undefined) {
      const { message, hint } = missing;
      return { check: name, state: trouble, message, ...(hint === undefined ? {} : { advice: hint }) };
    }
    const state = health.backends[name];
    if (state?.ok === true) return { check: name, state: 'ok', message: 'it answers' };
    const message = state?.error ?? 'no answer';
    return { check: name, state: trouble, message, advice: DEPLOYING[provider](endpoint) };
  });
}

const DEPLOYING: Readonly<Record<BackendKind, (endpoint: string) => string>> = {
  modal: (endpoint) => `npx nx deploy ${endpoint}, when it is not deployed`,
  runpod: () => 'docs/deploying.md, "To RunPod"',
  runcomfy: () => 'docs/backends.md, "RunComfy"',
};

/** Compares this machine's clock with a server's, by the Date of an answer. */
export async function clockFinding(url: string): Promise<Finding> {
  const http = createHttpClient();
  try {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const response = await http.send({ method: 'HEAD', url: new URL(url), signal });
    await response.body.dump();
    const { date } = response.headers;
    const difference = typeof date === 'string' ? Date.now() - Date.parse(date) : 0;
    if (Math.abs(difference) <= CLOCK_MS)
      return { check: 'clock', state: 'ok', message: 'as the servers have it' };
    const message = `it differs from ${new URL(url).host} by ${Math.round(difference / 1000)} s`;
    return {
      check: 'clock',
      state: 'broken',
      message,
      advice: 'Set the clock: webhooks and leases depend on it.',
    };
  } catch (error) {
    return { check: 'clock', state: 'warning', message: `no server to compare with: ${messageOf(error)}` };
  } finally {
    await http.close();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
