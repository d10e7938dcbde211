/** A stand-in for GitHub's REST API on a loopback port: the runs, commits and issues that our workflows ask for. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A finished run of a workflow. */
export interface Run {
  readonly workflow: string;
  readonly event: string;
  readonly commit: string;
  readonly succeeded: boolean;
}

/** An issue. */
export interface Issue {
  readonly number: number;
  readonly title: string;
  readonly labels: readonly string[];
  state: string;
  body: string;
  readonly comments: string[];
}

/** What the API needs of git. */
export interface Commits {
  /** Newest first. */
  onMain(): Promise<readonly string[]>;
}

type Answer = readonly [status: number, body: unknown];

/** The API of one repository. */
export class LocalGitHub implements AsyncDisposable {
  readonly runs: Run[] = [];
  readonly issues: Issue[] = [];
  readonly #server: Server;

  private constructor(commits: Commits) {
    this.#server = createServer((request, response) => {
      void this.#answer(request, commits)
        .catch((error: unknown): Answer => [500, { message: String(error) }])
        .then(([status, body]) => {
          response.writeHead(status, { 'content-type': 'application/json' });
          response.end(JSON.stringify(body));
        });
    });
  }

  static async start(commits: Commits): Promise<LocalGitHub> {
    const github = new LocalGitHub(commits);
    await new Promise<void>((resolve) => github.#server.listen(0, '127.0.0.1', resolve));
    return github;
  }

  /** What GITHUB_API_URL is set to. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async #answer(request: IncomingMessage, commits: Commits): Promise<Answer> {
    const { pathname, searchParams } = new URL(request.url ?? '', this.url);
    const resource = /^\/repos\/[^/]+\/[^/]+\/(.*)$/.exec(pathname)?.[1] ?? '';
    const [first, second, third, fourth] = resource.split('/');
    const body = await bodyOf(request);
    if (first === 'actions' && second === 'workflows' && fourth === 'runs')
      return [200, { workflow_runs: this.#successful(third ?? '', searchParams.get('event')) }];
    if (first === 'commits') {
      const known = await commits.onMain();
      if (second === undefined) return [200, known.slice(0, 100).map((sha) => ({ sha }))];
      return known.includes(second) ? [200, { sha: second }] : [422, { message: 'No commit found' }];
    }
    if (first === 'issues') return this.#issue(request.method ?? '', second, third, body);
    return [404, { message: `The local GitHub has no ${pathname}` }];
  }

  #successful(workflow: string, event: string | null): readonly { readonly head_sha: string }[] {
    return this.runs
      .filter((run) => run.workflow === workflow && run.event === event && run.succeeded)
      .map(({ commit }) => ({ head_sha: commit }))
      .reverse();
  }

  #issue(method: string, number: string | undefined, part: string | undefined, body: Partial<Issue>): Answer {
    if (method === 'GET') return [200, this.issues.filter(({ state }) => state === 'open')];
    if (number === undefined) {
      const { title = '', labels = [], body: text = '' } = body;
      this.issues.push({
        number: this.issues.length + 1,
        title,
        labels,
        state: 'open',
        body: text,
        comments: [],
      });
      return [201, this.issues.at(-1)];
    }
    const issue = this.issues[Number(number) - 1];
    if (issue === undefined) return [404, { message: 'Not Found' }];
    if (part === 'comments') issue.comments.push(body.body ?? '');
    else Object.assign(issue, body);
    return [200, issue];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function bodyOf(request: IncomingMessage): Promise<Partial<Issue>> {
  let text = '';
  for await (const piece of request) text += String(piece);
  return text === '' ? {} : (JSON.parse(text) as Partial<Issue>);
}
