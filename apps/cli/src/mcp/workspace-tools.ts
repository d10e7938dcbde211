import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import type { CallToolResult, ServerContext, Tool } from '@modelcontextprotocol/server';
import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server';
import { type ComfyUIService, ComfyUIServiceError } from '@ryla/business';
import type { ConfiguredService } from '@ryla/business/config';
import { LOCAL_CLOUDS_FILE } from '@ryla/business/local-clouds';
import { type EndpointDefinition, WorkflowError } from '@ryla/workflow';

import { refuseUnusable } from '../usable-deployment.ts';
import type { Workspace } from '../workspace.ts';
import { endpointTool, NO_EXPERIENCE } from './endpoint-tool.ts';
import { expectedCost, experienceWith } from './expected-cost.ts';
import type { FileAccess } from './file-argument.ts';
import { errorAnswer } from './job-answer.ts';
import { cancellationOf, followJob, type FollowOptions } from './job-following.ts';
import { AGENT_TAG, callJobTool, isJobTool, JOB_TOOLS } from './job-tools.ts';
import { createServicePool } from './service-pool.ts';
import type { SessionLimits } from './session-limits.ts';
import { inputsOfArguments } from './tool-arguments.ts';

/** Options of {@link createWorkspaceTools}. */
export interface WorkspaceToolsOptions extends FollowOptions {
  readonly workspace: Workspace;
  /** Only these endpoints; all when absent. */
  readonly endpoints?: readonly string[] | undefined;
  readonly access: FileAccess;
  readonly limits: SessionLimits;
  /** A remark for the person who started it. */
  readonly note: (text: string) => void;
}

/** The tools of a workspace: its endpoints as they are now, and those about jobs. */
export interface WorkspaceTools {
  list(): Promise<Tool[]>;
  /** Never rejects for what an agent did wrong, or a job: such an answer is marked `isError`. */
  call(
    name: string,
    values: Readonly<Record<string, unknown>>,
    context: ServerContext,
  ): Promise<CallToolResult>;
  /** Tells whether the endpoints are others than before. */
  version(): string;
  close(): Promise<void>;
}

/** In what was said already: what is about no endpoint. */
const BESIDE = '';

/** Makes the tools of a workspace. */
export function createWorkspaceTools(options: WorkspaceToolsOptions): WorkspaceTools {
  const { workspace, access, limits, note } = options;
  const said = new Map<string, string>();

  /** The endpoints that can be used, broken ones left out: one that is being edited must not take the others away. */
  function endpoints(): EndpointDefinition[] {
    const names = workspace.endpointNames().filter((name) => options.endpoints?.includes(name) ?? true);
    return names.flatMap((name) => {
      try {
        const endpoint = workspace.endpoint(name);
        said.delete(name);
        return [endpoint];
      } catch (error) {
        if (!WorkflowError.isInstance(error)) throw error;
        if (said.get(name) !== error.message) note(`${name} is left out: ${error.message}`);
        said.set(name, error.message);
        return [];
      }
    });
  }

  /** Once, as long as nothing else goes wrong: a store that is away is missed several times a second. */
  const onProblem = (error: unknown): void => {
    const text = `Beside the jobs: ${error instanceof Error ? error.message : String(error)}`;
    if (said.get(BESIDE) !== text) note(text);
    said.set(BESIDE, text);
  };

  const version = (): string => JSON.stringify(endpoints().map(({ config, workflow }) => [config, workflow]));
  const services = createServicePool(
    () => workspace.open({ shadows: true, onProblem }),
    // Local clouds that were started again are others.
    () => `${version()}${workspace.target === 'local' ? localClouds(workspace.root) : ''}`,
  );

  async function callEndpoint(
    endpoint: EndpointDefinition,
    values: Readonly<Record<string, unknown>>,
    context: ServerContext,
    opened: ConfiguredService,
  ): Promise<CallToolResult> {
    const { config } = endpoint;
    const { service } = opened;
    const inputs = await inputsOfArguments(config, values, access);
    refuseUnusable(opened, config.name, undefined);
    const jobId = randomUUID();
    const expected = expectedCost(config, await experienceWith(service, config.name), workspace.config);
    // What cannot be read keeps what was set aside for it.
    await limits.reserve(jobId, expected, (id) =>
      service
        .job(id)
        .record()
        .catch(() => undefined),
    );
    const signal = cancellationOf(context, options.closing);
    try {
      const job = await service.submit(endpoint, inputs, { jobId, tags: [AGENT_TAG], signal });
      return await followJob(job, endpoint, context, options);
    } catch (error) {
      if (await isUnknown(service, jobId)) limits.giveBack(jobId);
      throw error;
    }
  }

  return {
    version,
    async list() {
      const found = endpoints();
      const experiences = await services
        .use(({ service }) => Promise.all(found.map(({ config }) => experienceWith(service, config.name))))
        .catch((error: unknown) => {
          note(`What jobs took is not known: ${String(error)}`);
          return [];
        });
      return [
        ...found.map(({ config }, index) => endpointTool(config, experiences[index] ?? NO_EXPERIENCE)),
        ...JOB_TOOLS,
      ];
    },
    async call(name, values, context) {
      const endpoint = endpoints().find(({ config }) => config.name === name);
      if (endpoint === undefined && !isJobTool(name)) {
        const names = [
          ...endpoints().map(({ config }) => config.name),
          ...JOB_TOOLS.map((tool) => tool.name),
        ];
        throw new ProtocolError(
          ProtocolErrorCode.InvalidParams,
          `There is no tool "${name}". There are: ${names.join(', ')}.`,
        );
      }
      try {
        return await services.use((opened) => {
          if (endpoint !== undefined) return callEndpoint(endpoint, values, context, opened);
          return callJobTool(name, values, { context, opened, tools: options, definitions: endpoints() });
        });
      } catch (error) {
        return errorAnswer(error);
      }
    },
    close: () => services.close(),
  };
}

/** Whether a job was refused before it was stored. */
async function isUnknown(service: ComfyUIService, jobId: string): Promise<boolean> {
  try {
    await service.job(jobId).record();
    return false;
  } catch (error) {
    return ComfyUIServiceError.isInstance(error) && error.code === 'unknown_job';
  }
}

function localClouds(root: string): string {
  try {
    return readFileSync(path.join(root, LOCAL_CLOUDS_FILE), 'utf8');
  } catch {
    return 'not running';
  }
}
