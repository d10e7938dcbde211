import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { type ApiWorkflow, parseApiWorkflow } from '../api-workflow.ts';
import { type EndpointConfig, parseEndpointConfig } from '../endpoint-config.ts';
import type { EndpointDefinition, InputValues } from '../endpoint-definition.ts';
import { WorkflowError } from '../workflow-error.ts';

/**
 * Reads the endpoint in a folder: endpoint.json and its workflow file, checked against each other.
 *
 * @throws {WorkflowError} `invalid_endpoint`, `invalid_workflow` or `workflow_format_ui`, naming the file.
 */
export function loadEndpoint<Inputs extends object = InputValues, Outputs extends string = string>(
  directory: string,
): EndpointDefinition<Inputs, Outputs> {
  const config = parseEndpointConfig(readJson(path.join(directory, 'endpoint.json')));
  const workflow = parseApiWorkflow(readJson(path.join(directory, config.workflow)));
  const problems = checkEndpoint(config, workflow, directory);
  if (problems.length > 0) {
    throw new WorkflowError(
      'invalid_endpoint',
      `${path.join(directory, 'endpoint.json')}:\n  ${problems.join('\n  ')}`,
    );
  }
  return { config, workflow, directory };
}

/** Where endpoint.json and the workflow, or the files beside it, do not fit together; empty when all is well. */
export function checkEndpoint(config: EndpointConfig, workflow: ApiWorkflow, directory: string): string[] {
  const problems: string[] = [];
  if (config.name !== path.basename(path.resolve(directory))) {
    problems.push(
      `name: "${config.name}" must be the name of its folder, "${path.basename(path.resolve(directory))}"`,
    );
  }
  for (const [name, input] of Object.entries(config.inputs)) {
    for (const target of [input, ...(input.also ?? [])]) {
      const node = workflow[target.node];
      if (node === undefined) problems.push(`inputs.${name}: the workflow has no node ${target.node}`);
      else if (!Object.hasOwn(node.inputs, target.field)) {
        problems.push(
          `inputs.${name}: node ${target.node} (${node.class_type}) has no input ${target.field}`,
        );
      }
    }
    const isFile = ['image', 'mask', 'video', 'audio'].includes(input.type);
    if (isFile && typeof input.default === 'string' && !isFileBeside(directory, input.default)) {
      problems.push(`inputs.${name}: the default file ${input.default} is not in the endpoint's folder`);
    }
  }
  for (const [name, output] of Object.entries(config.outputs)) {
    if (workflow[output.node] === undefined)
      problems.push(`outputs.${name}: the workflow has no node ${output.node}`);
  }
  return problems;
}

/** Names of the endpoints below a folder: its subfolders with an endpoint.json, sorted. */
export function listEndpoints(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(path.join(folder, entry.name, 'endpoint.json')))
    .map((entry) => entry.name)
    .sort();
}

function isFileBeside(directory: string, file: string): boolean {
  const relative = path.relative(directory, path.resolve(directory, file));
  return (
    !relative.startsWith('..') && !path.isAbsolute(relative) && existsSync(path.resolve(directory, file))
  );
}

function readJson(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new WorkflowError('invalid_endpoint', `${file} cannot be read.`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WorkflowError(
      'invalid_endpoint',
      `${file} is not valid JSON: ${cause instanceof Error ? cause.message : ''}`,
      { cause },
    );
  }
}
