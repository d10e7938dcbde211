import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { endpointsFolder } from '@ryla/business/config';
import { z } from 'zod';

import type { Workspace } from '../workspace.ts';

const described = z.object({
  models: z.array(z.unknown()).optional(),
  providers: z
    .object({
      runpod: z
        .object({
          endpointId: z.string().optional(),
          template: z.string().optional(),
          networkVolumes: z.array(z.string()).optional(),
        })
        .optional(),
    })
    .optional(),
});

/** What an endpoint.json says of RunPod; an imported one has no workflow yet, and is read all the same. */
export interface OnRunPod {
  readonly endpointId: string | undefined;
  readonly template: string | undefined;
  readonly networkVolumes: readonly string[];
  /** How many models it names. */
  readonly models: number;
}

/** Reads an endpoint.json as far as it tells of RunPod; undefined where there is none that can be read. */
export function onRunPod(workspace: Workspace, name: string): OnRunPod | undefined {
  const file = path.join(endpointsFolder(workspace), name, 'endpoint.json');
  if (!existsSync(file)) return undefined;
  const read = described.safeParse(jsonOf(readFileSync(file, 'utf8')));
  if (!read.success) return undefined;
  const { models = [], providers } = read.data;
  const { endpointId, template, networkVolumes = [] } = providers?.runpod ?? {};
  return { endpointId, template, networkVolumes, models: models.length };
}

/** Ids on RunPod by the names of the workspace's endpoints. */
export function runpodIds(workspace: Workspace): ReadonlyMap<string, string> {
  return new Map(
    workspace.endpointNames().flatMap((name) => {
      const id = onRunPod(workspace, name)?.endpointId;
      return id === undefined ? [] : [[name, id] as const];
    }),
  );
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
