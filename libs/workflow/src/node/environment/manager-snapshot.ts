import { isObject } from '../../json-value.ts';
import { WorkflowError } from '../../workflow-error.ts';
import type { UnpinnedPart } from './environment.ts';
import { COMMIT, type Findings, lastPart, type NodeFinding, publicRepository } from './findings.ts';
import { readYaml } from './source-file.ts';

/**
 * Reads a snapshot of ComfyUI-Manager: `comfyui`, `git_custom_nodes`, `cnr_custom_nodes`, `file_custom_nodes`, in JSON or
 * YAML, or under `custom_nodes` as comfy-cli keeps it. Packages that it marks as disabled are left out; of models it says
 * nothing.
 *
 * @throws {WorkflowError} `invalid_environment`.
 */
export function readManagerSnapshot(file: string): Findings {
  const content = readYaml(file);
  const snapshot = isObject(content) && isObject(content['custom_nodes']) ? content['custom_nodes'] : content;
  const isSnapshot =
    isObject(snapshot) && ['git_custom_nodes', 'cnr_custom_nodes'].some((key) => isObject(snapshot[key]));
  if (!isObject(snapshot) || !isSnapshot) {
    throw new WorkflowError(
      'invalid_environment',
      `${file} is neither a ComfyUI-Manager snapshot (git_custom_nodes, cnr_custom_nodes) nor a comfy-build.yaml (schema: comfy-build/1).`,
    );
  }
  return {
    kind: 'manager-snapshot',
    comfyui: comfyuiOf(snapshot['comfyui']),
    gpu: undefined,
    nodes: [...gitNodes(snapshot['git_custom_nodes']), ...registryNodes(snapshot['cnr_custom_nodes'])],
    models: [],
    other: singleFiles(snapshot['file_custom_nodes']),
  };
}

function comfyuiOf(value: unknown): Findings['comfyui'] {
  const commit = typeof value === 'string' && COMMIT.test(value) ? value : undefined;
  return {
    commit,
    problem: {
      code: 'version_unknown',
      problem:
        commit === undefined
          ? 'The snapshot does not name ComfyUI.'
          : `The snapshot names commit ${commit} of ComfyUI and no version.`,
      action:
        commit === undefined
          ? 'Write the release that works for you into comfyui.version.'
          : `Run git describe --tags ${commit} in ComfyUI and write that release into comfyui.version.`,
    },
  };
}

function gitNodes(value: unknown): NodeFinding[] {
  return Object.entries(isObject(value) ? value : {}).flatMap(([address, about]): NodeFinding[] => {
    if (isObject(about) && about['disabled'] === true) return [];
    const { url, hadSecret } = publicRepository(address);
    const hash = isObject(about) ? about['hash'] : about;
    const commit = typeof hash === 'string' && COMMIT.test(hash) ? hash : undefined;
    const node: NodeFinding = { name: lastPart(url ?? address), repository: url, commit };
    if (hadSecret) {
      return [
        {
          ...node,
          problem: {
            code: 'private_repository',
            problem: 'Its address has a user name or token: others cannot read it.',
            action:
              'Make the repository public, or give the build a read-only key of its own; never a token in endpoint.json.',
          },
        },
      ];
    }
    return [node];
  });
}

function registryNodes(value: unknown): NodeFinding[] {
  return Object.entries(isObject(value) ? value : {}).map(([id, version]) => ({
    name: id,
    registry: { id, version: typeof version === 'string' ? version : undefined },
  }));
}

function singleFiles(value: unknown): UnpinnedPart[] {
  return (Array.isArray(value) ? (value as unknown[]) : []).flatMap((entry): UnpinnedPart[] => {
    if (!isObject(entry) || entry['disabled'] === true || typeof entry['filename'] !== 'string') return [];
    if (entry['filename'] === 'websocket_image_save.py') return [];
    return [
      {
        part: 'node',
        name: entry['filename'],
        code: 'single_file',
        problem: 'It is a single file in custom_nodes, which belongs to no repository.',
        action:
          'Put it into a repository of its own as __init__.py, and add that to customNodes with its commit.',
        known: {},
      },
    ];
  });
}
