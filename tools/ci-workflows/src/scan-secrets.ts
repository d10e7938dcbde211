/** `npm run scan:secrets`: gitleaks over the whole history. What it finds is printed without the secret. */
import { spawnSync } from 'node:child_process';

import { goTool, WORKSPACE_ROOT } from './pinned-tools.ts';
import { runStep } from './step-output.ts';

await runStep(() => {
  const args = ['git', '--no-banner', '--redact', '--verbose', '.'];
  const { error, status } = spawnSync(goTool('gitleaks'), args, { cwd: WORKSPACE_ROOT, stdio: 'inherit' });
  if (error !== undefined) throw error;
  if (status !== 0)
    throw new Error(
      'gitleaks found what looks like a secret. If it is one, revoke it first: what was pushed is known. If it is none, ' +
        'name it in .gitleaks.toml with the reason.',
    );
});
