// What the real nx-set-shas 5 does with the inputs that our workflows give it.
import { execFileSync } from 'node:child_process';
import { appendFileSync, readFileSync } from 'node:fs';

const { GITHUB_API_URL, GITHUB_REPOSITORY, GITHUB_EVENT_NAME, GITHUB_EVENT_PATH, GITHUB_OUTPUT, GITHUB_ENV } =
  process.env;
const input = (name) => process.env[`INPUT_${name.toUpperCase()}`] ?? '';
const git = (...args) => execFileSync('git', args, { encoding: 'utf8' }).trim();
const get = async (resource) => {
  const response = await fetch(`${GITHUB_API_URL}/repos/${GITHUB_REPOSITORY}/${resource}`);
  if (!response.ok) throw new Error(`${response.status} ${resource}`);
  return response.json();
};

async function lastSuccessful() {
  const query = `branch=main&status=success&event=${input('last-successful-event')}`;
  const { workflow_runs: runs } = await get(`actions/workflows/${input('workflow-id')}/runs?${query}`);
  const onMain = (await get('commits?sha=main&per_page=100')).map(({ sha }) => sha);
  return runs.map((run) => run.head_sha).find((sha) => onMain.includes(sha));
}

const head = git('rev-parse', 'HEAD');
const base =
  GITHUB_EVENT_NAME === 'pull_request'
    ? git(
        'merge-base',
        `origin/${JSON.parse(readFileSync(GITHUB_EVENT_PATH, 'utf8')).pull_request.base.ref}`,
        'HEAD',
      )
    : GITHUB_EVENT_NAME === 'merge_group'
      ? git('rev-parse', 'HEAD^1')
      : await lastSuccessful();
if (base === undefined) {
  if (input('error-on-no-successful-workflow') !== 'true') throw new Error('This would guess HEAD~1.');
  console.log("::error::Unable to find a successful workflow run on 'origin/main'");
  process.exit(1);
}
appendFileSync(GITHUB_OUTPUT, `base=${base}\nhead=${head}\n`);
if (input('set-environment-variables-for-job') === 'true')
  appendFileSync(GITHUB_ENV, `NX_BASE=${base}\nNX_HEAD=${head}\n`);
