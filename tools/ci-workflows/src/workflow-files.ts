/** The repository's workflows and actions, parsed, for the rules that they must keep. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { parse } from 'yaml';
import { z } from 'zod';

const step = z.looseObject({
  name: z.string().optional(),
  uses: z.string().optional(),
  run: z.string().optional(),
  with: z.record(z.string(), z.unknown()).optional(),
  env: z.record(z.string(), z.unknown()).optional(),
});

const permissions = z.union([z.string(), z.record(z.string(), z.string())]).optional();

const concurrency = z.object({
  group: z.string(),
  'cancel-in-progress': z.union([z.boolean(), z.string()]).optional(),
});

const workflow = z.looseObject({
  name: z.string(),
  on: z.record(z.string(), z.unknown()),
  permissions,
  concurrency: concurrency.optional(),
  jobs: z.record(
    z.string(),
    z.looseObject({
      if: z.union([z.string(), z.boolean()]).optional(),
      permissions,
      environment: z.string().optional(),
      'timeout-minutes': z.number().optional(),
      steps: z.array(step),
    }),
  ),
});

const action = z.looseObject({
  runs: z.looseObject({ using: z.literal('composite'), steps: z.array(step) }),
});

/** A step of a job. */
export type Step = z.infer<typeof step>;

/** A workflow with its text: what a comment says is lost in parsing. */
export interface WorkflowFile {
  /** Name of the file, without its ending. */
  readonly id: string;
  readonly text: string;
  readonly content: z.infer<typeof workflow>;
}

/** A composite action of the repository. */
export interface ActionFile {
  readonly id: string;
  readonly text: string;
  readonly content: z.infer<typeof action>;
}

/** Workflows of a workspace, sorted by name. */
export function readWorkflows(root: string): WorkflowFile[] {
  const folder = path.join(root, '.github/workflows');
  return readdirSync(folder)
    .filter((file) => file.endsWith('.yml'))
    .sort()
    .map((file) => {
      const text = readFileSync(path.join(folder, file), 'utf8');
      return { id: path.basename(file, '.yml'), text, content: workflow.parse(parse(text)) };
    });
}

/** Composite actions of a workspace. */
export function readActions(root: string): ActionFile[] {
  const folder = path.join(root, '.github/actions');
  return readdirSync(folder)
    .sort()
    .map((id) => {
      const text = readFileSync(path.join(folder, id, 'action.yml'), 'utf8');
      return { id, text, content: action.parse(parse(text)) };
    });
}
