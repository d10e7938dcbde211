/** What `ryla.config.ts` says of RunComfy: deployments are made there by hand, one for each endpoint. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { type ApiWorkflow, parseApiWorkflow } from '@ryla/workflow';
import { z } from 'zod';

import type { Adapter } from './adapter.ts';
import { runcomfy } from './adapters/runcomfy.ts';
import { ComfyUIServiceError } from './errors.ts';

/** An endpoint's deployment on RunComfy. */
export interface RunComfyDeployment {
  readonly deploymentId: string;
  /**
   * File of the workflow that is saved with the deployment (its `workflow_api.json`), from the root: jobs then send what
   * differs from it, as `overrides`. Without it they bring their whole workflow.
   */
  readonly saved?: string;
}

/** The form of {@link RunComfyDeployment}. */
export const runComfyDeployment = z.strictObject({
  deploymentId: z.string().min(1),
  saved: z.string().min(1).optional(),
});

/**
 * The adapter of an endpoint's deployment.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration`.
 */
export function runComfyAdapter(
  endpoint: string,
  deployment: RunComfyDeployment | undefined,
  { root, target, apiKey }: { readonly root: string; readonly target: string; readonly apiKey: () => string },
): Adapter {
  if (deployment === undefined) {
    throw new ComfyUIServiceError(
      'invalid_configuration',
      `Endpoint ${endpoint} names no RunComfy deployment: set runcomfy.${endpoint}.deploymentId in ryla.config.ts.`,
      { endpoint },
    );
  }
  if (target === 'local') {
    throw new ComfyUIServiceError('invalid_configuration', 'RunComfy is not among the local clouds.', {
      endpoint,
      hint: 'Use it with --target cloud.',
    });
  }
  const { deploymentId, saved } = deployment;
  return runcomfy({
    deploymentId,
    apiKey: apiKey(),
    ...(saved === undefined ? {} : { saved: savedWorkflow(path.resolve(root, saved), endpoint) }),
  });
}

function savedWorkflow(file: string, endpoint: string): ApiWorkflow {
  try {
    return parseApiWorkflow(JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ComfyUIServiceError(
      'invalid_configuration',
      `The workflow of runcomfy.${endpoint}.saved cannot be used: ${reason}`,
      {
        endpoint,
        cause,
        hint: "Save the deployment's workflow_api.json there, or leave `saved` out.",
      },
    );
  }
}
