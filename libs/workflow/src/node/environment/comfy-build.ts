import { isObject } from '../../json-value.ts';
import {
  COMMIT,
  type Findings,
  lastPart,
  type ModelFinding,
  type NodeFinding,
  publicRepository,
  releaseVersion,
} from './findings.ts';
import { readYaml } from './source-file.ts';

/**
 * Reads a comfy-build.yaml, as comfy-cli's `comfy build init` writes it: `schema: comfy-build/1` and a `definition` with
 * `baseComfyVersion`, `customNodes` and `models`. `undefined` where the file is another.
 *
 * @throws {WorkflowError} `invalid_environment` where it is neither YAML nor JSON.
 */
export function readComfyBuild(file: string): Findings | undefined {
  const content = readYaml(file);
  if (!isObject(content)) return undefined;
  const isBuild = typeof content['schema'] === 'string' && content['schema'].startsWith('comfy-build/');
  const definition = isObject(content['definition']) ? content['definition'] : undefined;
  if (!isBuild || definition === undefined) return undefined;
  return {
    kind: 'comfy-build',
    comfyui: comfyuiOf(text(definition['baseComfyVersion'])),
    gpu: undefined,
    nodes: objects(definition['customNodes']).map(nodeOf),
    models: objects(definition['models']).map(modelOf),
    other: [],
  };
}

function comfyuiOf(ref: string | undefined): Findings['comfyui'] {
  const version = releaseVersion(ref);
  if (version !== undefined) return { version };
  return {
    commit: ref !== undefined && COMMIT.test(ref) ? ref : undefined,
    problem: {
      code: 'version_unknown',
      problem:
        ref === undefined ? 'It names no baseComfyVersion.' : `Its baseComfyVersion, ${ref}, is no release.`,
      action: 'Write the release that works for you into comfyui.version.',
    },
  };
}

function nodeOf(entry: Record<string, unknown>): NodeFinding {
  const repository = text(entry['repository']);
  const { url, hadSecret } = publicRepository(repository ?? '');
  const ref = text(entry['gitRef']);
  const commit = [text(entry['commit']), ref].find((one) => one !== undefined && COMMIT.test(one));
  const id = text(entry['id']);
  const name = text(entry['name']) ?? id ?? lastPart(url ?? 'a node without a name');
  const version = text(entry['registryVersion']);
  const node: NodeFinding = {
    name,
    repository: url,
    commit,
    ref,
    ...(version === undefined && (id === undefined || url !== undefined)
      ? {}
      : { registry: { id: id ?? name, version } }),
  };
  if (hadSecret) {
    return {
      ...node,
      problem: {
        code: 'private_repository',
        problem: 'Its address has a user name or token: others cannot read it.',
        action:
          'Make the repository public, or give the build a read-only key of its own; never a token in endpoint.json.',
      },
    };
  }
  if (url === undefined && version === undefined && text(entry['blobId']) !== undefined) {
    return {
      ...node,
      problem: {
        code: 'no_repository',
        problem: 'Its code was uploaded to Comfy and is in no repository.',
        action:
          'Push it to a repository that the build can read, and add that to customNodes with its commit.',
      },
    };
  }
  return node;
}

function modelOf(entry: Record<string, unknown>): ModelFinding {
  const url = text(entry['sourceUri']);
  const model: ModelFinding = {
    filename:
      text(entry['filename']) ??
      (url === undefined ? 'a model without a name' : lastPart(url.replace(/[?#].*$/, ''))),
    directory: text(entry['type']),
    url,
    sha256: text(entry['sha256'])?.toLowerCase(),
  };
  if (url !== undefined || text(entry['blobId']) === undefined) return model;
  return {
    ...model,
    problem: {
      code: 'no_public_source',
      problem: 'It was uploaded to Comfy and has no public address.',
      action: 'Upload it where the build can fetch it over https, and add it to models with that address.',
    },
  };
}

function objects(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? (value as unknown[]).filter(isObject) : [];
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
