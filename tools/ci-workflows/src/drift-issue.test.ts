import { describe, expect, it } from 'vitest';

import { bringIssueUpToDate, DRIFT_LABEL, type IssuesApi } from './drift-issue.ts';

interface Issue {
  readonly number: number;
  state: string;
  body: string;
  readonly labels: string[];
  readonly comments: string[];
  readonly pull_request?: object;
}

/** Issues as GitHub's API keeps them. */
function repository(issues: Issue[] = []): { readonly api: IssuesApi; readonly issues: Issue[] } {
  const api: IssuesApi = {
    request: (method, resource, body) => {
      const given = body as Partial<Issue> | undefined;
      if (method === 'GET')
        return Promise.resolve(
          issues.filter(({ state, labels }) => state === 'open' && labels.includes(DRIFT_LABEL)),
        );
      const number = Number(/^issues\/(\d+)/.exec(resource)?.[1]);
      const issue = issues.find((each) => each.number === number);
      if (issue === undefined) {
        const made = {
          number: issues.length + 1,
          state: 'open',
          body: given?.body ?? '',
          labels: given?.labels ?? [],
          comments: [],
        };
        issues.push(made);
        return Promise.resolve(made);
      }
      if (resource.endsWith('/comments')) issue.comments.push(given?.body ?? '');
      else Object.assign(issue, given);
      return Promise.resolve(issue);
    },
  };
  return { api, issues };
}

const issue = (number: number, changes: Partial<Issue> = {}): Issue => ({
  number,
  state: 'open',
  body: 'old',
  labels: [DRIFT_LABEL],
  comments: [],
  ...changes,
});

describe('bringIssueUpToDate', () => {
  it('opens one issue and renews it', async () => {
    const { api, issues } = repository();
    expect(await bringIssueUpToDate(api, 'first')).toEqual({ done: 'opened', number: 1 });
    expect(await bringIssueUpToDate(api, 'second')).toEqual({ done: 'renewed', number: 1 });
    expect(await bringIssueUpToDate(api, 'second')).toEqual({ done: 'unchanged', number: 1 });
    expect(issues).toMatchObject([{ state: 'open', body: 'second', labels: [DRIFT_LABEL] }]);
  });

  it('closes it when all is as main says, and opens another the next time', async () => {
    const { api, issues } = repository([issue(1)]);
    expect(await bringIssueUpToDate(api, null)).toEqual({ done: 'closed', number: 1 });
    expect(issues[0]).toMatchObject({ state: 'closed', comments: ['What is live is what main says again.'] });
    expect(await bringIssueUpToDate(api, null)).toEqual({ done: 'none' });
    expect(await bringIssueUpToDate(api, 'again')).toEqual({ done: 'opened', number: 2 });
  });

  it('keeps the oldest of several', async () => {
    const { api, issues } = repository([issue(1), issue(2)]);
    expect(await bringIssueUpToDate(api, 'new')).toEqual({ done: 'renewed', number: 1 });
    expect(issues[1]).toMatchObject({ state: 'closed', comments: ['Continued in #1.'] });
  });

  it('leaves pull requests with the label alone', async () => {
    const { api, issues } = repository([issue(1, { pull_request: {} })]);
    expect(await bringIssueUpToDate(api, null)).toEqual({ done: 'none' });
    expect(issues[0]?.state).toBe('open');
  });
});
