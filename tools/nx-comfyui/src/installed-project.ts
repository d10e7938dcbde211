import type { ProjectConfiguration, TargetConfiguration } from '@nx/devkit';

import { bareProject, type EndpointOutline } from './endpoint-project.ts';

/**
 * The project of an endpoint in a workspace that installed this package: what needs nothing but the package. Deploying takes the
 * apps of the workspace that this package comes from.
 *
 * @param root folder of the endpoint from the root of the workspace.
 * @param programs folder of this package's programs, from there too.
 */
export function installedProject(
  root: string,
  outline: EndpointOutline,
  programs: string,
): ProjectConfiguration {
  return {
    ...bareProject(root, outline),
    targets: {
      validate: program(`node ${programs}/validate.js ${root}`, {
        cache: true,
        inputs: ['{projectRoot}/**/*', { externalDependencies: ['@ryla/nx-comfyui'] }],
        metadata: {
          description: 'Checks endpoint.json, its workflow and the files they name against each other.',
        },
      }),
      openapi: program(`node ${programs}/openapi.js ${root}`, {
        metadata: {
          description: 'Prints the HTTP interface of this endpoint as OpenAPI; `--out` writes it.',
        },
      }),
      run: program(`node ${programs}/run.js ${root}`, {
        dependsOn: ['validate'],
        configurations: { cloud: { args: '--target cloud' } },
        metadata: {
          description: 'Runs the deployed endpoint once through comfyui-service and saves its outputs.',
        },
      }),
    },
  };
}

function program(command: string, more: TargetConfiguration): TargetConfiguration {
  return { executor: 'nx:run-commands', cache: false, options: { command }, ...more };
}
