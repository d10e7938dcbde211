import { isObject } from '../json-value.ts';
import { WorkflowError } from '../workflow-error.ts';

/** What ComfyUI-Manager's `extension-node-map.json` knows: which repositories define a class of nodes. */
export interface NodeMap {
  /** Repositories that list the class, or whose pattern for names of classes it fits. */
  candidates(className: string): readonly MapCandidate[];
  /** The one repository whose own name is that of a package of the Comfy registry; `undefined` for none and several. */
  repositoryNamed?(registryId: string): string | undefined;
  /** How many classes it lists. */
  readonly size: number;
}

/** A repository that may define a class. */
export interface MapCandidate {
  /** As the map has it: mostly `https://github.com/user/name`. */
  readonly repository: string;
  /** `preempts`: the map says that this one counts where several list the class. */
  readonly evidence: 'lists' | 'preempts' | 'pattern';
}

/** Longest pattern for names of classes that is tried; the published ones have some 60 characters. */
const LONGEST_PATTERN = 200;

/**
 * Reads the content of ComfyUI-Manager's `extension-node-map.json`: by repository a list of classes and an object with
 * title, `nodename_pattern` and `preemptions`.
 *
 * @throws {WorkflowError} `invalid_node_map`.
 */
export function parseNodeMap(value: unknown): NodeMap {
  if (!isObject(value)) throw fail('it is no object of repositories');
  const listed = new Map<string, MapCandidate[]>();
  const patterns: { readonly repository: string; readonly pattern: RegExp }[] = [];
  for (const [repository, entry] of Object.entries(value)) {
    if (!Array.isArray(entry) || !Array.isArray(entry[0])) throw fail(`${repository} has no list of classes`);
    const [names, about] = entry as unknown[];
    const preempted = new Set(
      isObject(about) && Array.isArray(about['preemptions']) ? about['preemptions'] : [],
    );
    for (const name of names as unknown[]) {
      if (typeof name !== 'string') continue;
      const candidate: MapCandidate = { repository, evidence: preempted.has(name) ? 'preempts' : 'lists' };
      const known = listed.get(name);
      if (known === undefined) listed.set(name, [candidate]);
      else known.push(candidate);
    }
    const pattern = isObject(about) ? asPattern(about['nodename_pattern']) : undefined;
    if (pattern !== undefined) patterns.push({ repository, pattern });
  }
  const repositories = Object.keys(value).filter((address) => address.startsWith('https:'));
  return {
    repositoryNamed(registryId) {
      const [only, another] = repositories.filter((repository) => isRepositoryNamed(repository, registryId));
      return another === undefined ? only?.replace(/\.git$/, '') : undefined;
    },
    size: listed.size,
    candidates(className) {
      const found = listed.get(className);
      if (found !== undefined) return found;
      return patterns
        .filter(({ pattern }) => pattern.test(className))
        .map(({ repository }) => ({ repository, evidence: 'pattern' as const }));
    },
  };
}

/** Whether a repository's own name is that of a package or folder: `ComfyUI_essentials` is `comfyui_essentials`. */
export function isRepositoryNamed(repository: string, name: string): boolean {
  const last =
    repository
      .replace(/\.git$/, '')
      .split('/')
      .at(-1) ?? '';
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z\d]/g, '');
  return plain(last) === plain(name);
}

/** A map that knows nothing: only what the workflow itself says about its nodes then counts. */
export const EMPTY_NODE_MAP: NodeMap = { size: 0, candidates: () => [] };

/**
 * Patterns are Python's; those that JavaScript reads otherwise are left out, and so are those that would fit classes of
 * others by chance (`Smart`): a pattern must hold at the begin or the end of a name, and have four letters or more.
 */
function asPattern(value: unknown): RegExp | undefined {
  if (typeof value !== 'string' || value.length > LONGEST_PATTERN) return undefined;
  const isAnchored = value.startsWith('^') || value.endsWith('$');
  if (!isAnchored || value.replace(/[^A-Za-z\d]/g, '').length < 4) return undefined;
  try {
    return new RegExp(value);
  } catch {
    return undefined;
  }
}

function fail(reason: string): WorkflowError {
  return new WorkflowError(
    'invalid_node_map',
    `This is no extension-node-map.json of ComfyUI-Manager: ${reason}.`,
  );
}
