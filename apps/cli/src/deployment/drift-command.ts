/** `ryla drift`. */
import { appendFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';

import { EXIT } from '../exit-codes.ts';
import type { DriftOptions } from './command-options.ts';
import { documentOf } from './deployment-document.ts';
import { cloudOf, inEnvironment, PENDING, placeOf, scopeOf } from './deployment-place.ts';
import { driftMarkdown, driftText } from './deployment-report.ts';
import { commit } from './git-range.ts';
import type { InspectionProcess } from './inspection-process.ts';
import { makePlan } from './plan.ts';

/** Compares what is live with what is checked out. */
export function drift(options: DriftOptions, inspection?: InspectionProcess): Promise<void> {
  return inEnvironment(options, async (workspace, output) => {
    await using cloud = cloudOf(workspace, { ...options, smoke: true });
    const place = placeOf(workspace, options.provider);
    const head = (await commit(workspace.root, 'HEAD')) ?? null;
    const selection = { kind: 'all' } as const;
    const { parallel } = options;
    const planned = await makePlan({
      place,
      selection,
      cloud,
      commit: head,
      parallel,
      smoke: true,
      inspection,
    });
    const entries = planned.map(({ entry }) => entry);
    const document = documentOf(scopeOf(workspace, cloud, head, selection), entries);
    const isEqual = entries.every(({ action }) => action === 'unchanged');
    output.result(document, driftText(document));
    if (options.summary !== undefined) appendFileSync(options.summary, `${driftMarkdown(document)}\n`);
    if (options.issueBody !== undefined && !isEqual)
      writeFileSync(options.issueBody, driftMarkdown(document));
    const failed = entries.some(({ action }) => action === 'unknown');
    process.exitCode = failed ? EXIT.failed : isEqual ? EXIT.ok : PENDING;
  });
}
