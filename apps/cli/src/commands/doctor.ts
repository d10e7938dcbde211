import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

import { createHttpClient } from '@ryla/business';
import { backendName, CLOUD_VARIABLES, PROVIDERS, stateFolder, type Target } from '@ryla/business/config';
import { readLocalClouds } from '@ryla/business/local-clouds';
import type { Command } from 'commander';

import { EXIT } from '../exit-codes.ts';
import { createOutput } from '../output.ts';
import { findWorkspace, type Workspace } from '../workspace.ts';
import { common, type CommonOptions } from './job-commands.ts';

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
    return [{ check: 'configuration', state: 'broken', message: messageOf(error) }];
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
  findings.push(...(target === 'local' ? localFindings(workspace) : cloudFindings(workspace)));
  if (!findings.some(({ check, state }) => check === 'local clouds' && state === 'broken'))
    findings.push(...(await deploymentFindings(workspace)));
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
  const probe = path.join(folder, `.probe-${process.pid}`);
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(probe, '');
    await rm(probe);
    return { check: 'job store', state: 'ok', message: path.join(folder, 'jobs.db') };
  } catch (error) {
    const advice = 'Make the folder writable, or set `state` in ryla.config.ts.';
    return { check: 'job store', state: 'broken', message: messageOf(error), advice };
  }
}

async function programFindings({ root }: Workspace): Promise<Finding[]> {
  const bin = path.join(root, '.venv/bin');
  const programs = [
    { name: 'python', file: path.join(bin, 'python'), args: ['--version'] },
    { name: 'modal', file: path.join(bin, 'modal'), args: ['--version'] },
    {
      name: 'runpod',
      file: path.join(bin, 'python'),
      args: ['-c', "from importlib.metadata import version; print('runpod', version('runpod'))"],
    },
  ];
  const found: Finding[] = [{ check: 'node', state: 'ok', message: process.versions.node }];
  for (const { name, file, args } of programs) {
    if (!existsSync(file)) {
      const advice = 'npm run setup makes the Python environment.';
      found.push({ check: name, state: 'broken', message: 'it is not there', advice });
      continue;
    }
    try {
      const { stdout, stderr } = await promisify(execFile)(file, args, { timeout: ANSWER_MS });
      found.push({ check: name, state: 'ok', message: (stdout || stderr).trim() });
    } catch (error) {
      found.push({ check: name, state: 'broken', message: messageOf(error), advice: 'npm run setup' });
    }
  }
  return found;
}

function localFindings({ root }: Workspace): Finding[] {
  try {
    const { modal, runpod } = readLocalClouds(root);
    return [
      { check: 'local clouds', state: 'ok', message: `Modal ${modal.webUrl}, RunPod ${runpod.apiUrl}` },
    ];
  } catch (error) {
    return [{ check: 'local clouds', state: 'broken', message: messageOf(error), advice: 'npm run clouds' }];
  }
}

function cloudFindings({ env, config }: Workspace): Finding[] {
  const findings = Object.entries(CLOUD_VARIABLES).map(([name, standard]): Finding => {
    const given = Object.entries(config.cloud ?? {}).find(([key]) => key === name)?.[1];
    const variable = typeof given === 'string' ? given : standard;
    const isThere = (env[variable] ?? '') !== '';
    return isThere
      ? { check: variable, state: 'ok', message: 'it is set' }
      : { check: variable, state: 'warning', message: 'it is not set', advice: ADVICE[name] ?? '' };
  });
  if (config.cloud?.runpodClaims !== true) {
    findings.push({
      check: 'RunPod claims',
      state: 'warning',
      message:
        'a RunPod submission whose answer is lost is never sent again: nobody can tell whether it runs',
      advice: 'Give the endpoints a network volume, and set cloud.runpodClaims in ryla.config.ts.',
    });
  }
  return findings;
}

const ADVICE: Readonly<Record<string, string>> = {
  modalWorkspace: 'The name in front of `--` in the URLs of your Modal apps.',
  modalProxyKey: "Make a proxy auth token in Modal's settings; endpoints with the auth modal-proxy need it.",
  modalProxySecret: 'The other half of the proxy auth token.',
  bearerToken: 'The token in the Modal secret ryla-secrets; endpoints with the auth bearer need it.',
  runpodApiKey: "Make an API key in RunPod's settings.",
};

async function deploymentFindings(workspace: Workspace): Promise<Finding[]> {
  const { service, unusable } = await workspace.open();
  await using jobs = service;
  const health = await jobs.health({ signal: AbortSignal.timeout(ANSWER_MS) });
  const names = workspace
    .endpointNames()
    .flatMap((endpoint) =>
      PROVIDERS.map((provider) => ({ endpoint, provider, name: backendName(provider, endpoint) })),
    );
  return names.map(({ endpoint, provider, name }): Finding => {
    const missing = unusable.get(name);
    if (missing !== undefined) return { check: name, state: 'warning', message: missing.message };
    const state = health.backends[name];
    if (state?.ok === true) return { check: name, state: 'ok', message: 'it answers' };
    const advice =
      provider === 'modal'
        ? `npx nx deploy ${endpoint}, when it is not deployed`
        : 'docs/deploying.md, "To RunPod"';
    return { check: name, state: 'warning', message: state?.error ?? 'no answer', advice };
  });
}

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
