/** The issue of the nightly drift check: opened, renewed or closed, never a second one. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';

import { z } from 'zod';

import { runStep } from './step-output.ts';

/** Label by which the issue is found again. */
export const DRIFT_LABEL = 'deployment-drift';

const TITLE = 'What is live is not what main says';

/** The part of GitHub's REST API for issues that is used; paths are below the repository. */
export interface IssuesApi {
  request(method: 'GET' | 'POST' | 'PATCH', resource: string, body?: unknown): Promise<unknown>;
}

/** What was done. */
export type IssueChange =
  | { readonly done: 'opened' | 'renewed' | 'unchanged' | 'closed'; readonly number: number }
  | { readonly done: 'none' };

const issues = z.array(
  z.object({ number: z.int(), body: z.string().nullish(), pull_request: z.unknown().optional() }),
);
const created = z.object({ number: z.int() });

/**
 * Brings the issue to what a drift check found.
 *
 * @param body Markdown of the drift; null where there is none.
 */
export async function bringIssueUpToDate(api: IssuesApi, body: string | null): Promise<IssueChange> {
  const open = await openIssues(api);
  const [first, ...others] = open;
  // Two runs at once may both have opened one; the oldest stays.
  for (const { number } of others) await close(api, number, `Continued in #${first?.number ?? ''}.`);
  if (body === null) {
    if (first === undefined) return { done: 'none' };
    await close(api, first.number, 'What is live is what main says again.');
    return { done: 'closed', number: first.number };
  }
  if (first === undefined) {
    const issue = await api.request('POST', 'issues', { title: TITLE, body, labels: [DRIFT_LABEL] });
    return { done: 'opened', number: created.parse(issue).number };
  }
  if (first.body === body) return { done: 'unchanged', number: first.number };
  await api.request('PATCH', `issues/${first.number}`, { body });
  return { done: 'renewed', number: first.number };
}

async function openIssues(api: IssuesApi): Promise<z.infer<typeof issues>> {
  const query = `issues?state=open&labels=${DRIFT_LABEL}&sort=created&direction=asc&per_page=100`;
  const found = issues.parse(await api.request('GET', query));
  // GitHub lists pull requests as issues too.
  return found.filter((issue) => issue.pull_request === undefined);
}

async function close(api: IssuesApi, number: number, comment: string): Promise<void> {
  await api.request('POST', `issues/${number}/comments`, { body: comment });
  await api.request('PATCH', `issues/${number}`, { state: 'closed' });
}

/** GitHub's own API, as a workflow's variables name it. */
export function githubIssues(env: Readonly<Record<string, string | undefined>>): IssuesApi {
  const { GITHUB_API_URL: url, GITHUB_REPOSITORY: repository, GITHUB_TOKEN: token } = env;
  if (!url || !repository || !token)
    throw new Error(
      'GITHUB_API_URL, GITHUB_REPOSITORY and GITHUB_TOKEN are needed: this runs in a workflow.',
    );
  return {
    async request(method, resource, body) {
      const response = await fetch(`${url}/repos/${repository}/${resource}`, {
        method,
        headers: {
          accept: 'application/vnd.github+json',
          authorization: `Bearer ${token}`,
          'x-github-api-version': '2022-11-28',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(30_000),
      });
      const text = await response.text();
      if (!response.ok)
        throw new Error(`GitHub answered ${response.status} to ${method} ${resource}: ${text.slice(0, 500)}`);
      const answer: unknown = text === '' ? null : JSON.parse(text);
      return answer;
    },
  };
}

if (process.argv[1] === path.resolve(import.meta.filename)) {
  await runStep(async () => {
    const [state, file] = process.argv.slice(2);
    if ((state !== 'clean' && state !== 'drift') || file === undefined)
      throw new Error('Usage: drift-issue.ts clean|drift <file with the body>');
    const body = state === 'clean' ? null : await readFile(file, 'utf8');
    const change = await bringIssueUpToDate(githubIssues(process.env), body);
    console.log(change.done === 'none' ? 'No drift, no issue.' : `Issue #${change.number}: ${change.done}.`);
  });
}
