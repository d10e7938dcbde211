/** `npm run audit:python`: pip-audit over the locked Python packages, those of the workflow tools included. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { pythonTool, WORKSPACE_ROOT } from './pinned-tools.ts';
import { runStep } from './step-output.ts';

/** Everything of uv.lock but the workspace's own projects. */
const EXPORT = ['export', '--frozen', '--all-packages', '--all-groups', '--no-emit-workspace', '--quiet'];

await runStep(() => {
  const folder = mkdtempSync(path.join(tmpdir(), 'audit-'));
  try {
    const locked = path.join(folder, 'requirements.txt');
    writeFileSync(
      locked,
      execFileSync(path.join(WORKSPACE_ROOT, '.tools/bin/uv'), EXPORT, { cwd: WORKSPACE_ROOT }),
    );
    const tools = path.join(WORKSPACE_ROOT, 'tools/ci-workflows/tools/requirements.txt');
    const failed = [locked, tools].filter((file) => {
      // Strict: a package that could not be looked up is no package without advisories.
      const args = ['--strict', '--require-hashes', '--disable-pip', '--progress-spinner', 'off', '-r', file];
      return spawnSync(pythonTool('pip-audit'), args, { stdio: 'inherit' }).status !== 0;
    });
    if (failed.length > 0) throw new Error('pip-audit found something, or could not look it up.');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
