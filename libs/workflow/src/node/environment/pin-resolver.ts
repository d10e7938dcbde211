import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';

import { isObject } from '../../json-value.ts';

/** A public file whose address names one content for ever. */
export interface PinnedFile {
  readonly url: string;
  /** Bytes. */
  readonly size: number;
  readonly sha256: string;
}

/** A commit of a repository, in 40 digits. */
export interface PinnedCommit {
  readonly commit: string;
}

/** The archive of a version in the Comfy registry. */
export interface RegistryArchive {
  readonly sha256: string;
}

/** Asks what only the network knows. Each answers `private` where a login is needed, `undefined` where it cannot tell. */
export interface PinResolver {
  readonly file: (url: string, signal?: AbortSignal) => Promise<PinnedFile | 'private' | undefined>;
  /** The whole commit of a branch, a tag, a short commit or, without one, the default branch. */
  readonly commit: (
    repository: string,
    ref: string | undefined,
    signal?: AbortSignal,
  ) => Promise<PinnedCommit | 'private' | undefined>;
  /** What is known of the archive that the Comfy registry serves for a version of a package. */
  readonly registryArchive?: (
    id: string,
    version: string,
    signal?: AbortSignal,
  ) => Promise<RegistryArchive | undefined>;
}

/** How {@link publicResolver} reaches the network. */
export interface PublicResolverOptions {
  /** Address of Hugging Face; for tests. */
  readonly huggingFace?: string;
  /** Address of the Comfy registry; for tests. */
  readonly registry?: string;
  /** Longest wait for one answer, in milliseconds. */
  readonly timeoutMs?: number;
}

/** Longest wait for one answer, in milliseconds: HEAD requests and ls-remote take well under a second. */
const TIMEOUT_MS = 30_000;

/** Bytes of an archive that are read for its hash; packages of nodes have some megabytes. */
const LARGEST_ARCHIVE = 256 * 1024 * 1024;

const FILE_PATH = /^\/([^/]+\/[^/]+)\/(?:resolve|blob)\/([^/]+)\/(.+)$/;

/**
 * Asks Hugging Face and git servers as anybody may, without a login: of a file Hugging Face's own headers
 * (`X-Repo-Commit`, `X-Linked-Size`, `X-Linked-Etag`), of a repository `git ls-remote`. Files elsewhere, and small files
 * that Hugging Face keeps in git, stay unresolved. Of a version it asks the Comfy registry for the archive
 * (`GET /nodes/{id}/install?version=`, `downloadUrl`), and reads it whole for its SHA-256.
 */
export function publicResolver(options: PublicResolverOptions = {}): PinResolver {
  const base = new URL(options.huggingFace ?? 'https://huggingface.co');
  const registry = new URL(options.registry ?? 'https://api.comfy.org');
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  return {
    async file(url, signal) {
      if (!URL.canParse(url)) return undefined;
      const asked = new URL(url);
      const match = FILE_PATH.exec(asked.pathname);
      if (asked.hostname !== 'huggingface.co' || match === null) return undefined;
      const [, repository, revision, file] = match;
      const path = (commit: string) => `/${repository ?? ''}/resolve/${commit}/${file ?? ''}`;
      const response = await fetch(new URL(path(revision ?? 'main'), base), {
        method: 'HEAD',
        redirect: 'manual',
        signal: within(timeoutMs, signal),
      });
      if (response.status === 401 || response.status === 403) return 'private';
      const commit = response.headers.get('x-repo-commit');
      const size = Number(response.headers.get('x-linked-size'));
      const sha256 = response.headers.get('x-linked-etag')?.replaceAll('"', '');
      if (response.status >= 400 || commit === null || !/^[0-9a-f]{40}$/.test(commit)) return undefined;
      if (sha256 === undefined || !/^[0-9a-f]{64}$/.test(sha256) || !Number.isSafeInteger(size) || size <= 0)
        return undefined;
      return { url: `https://huggingface.co${path(commit)}`, size, sha256 };
    },
    commit: (repository, ref, signal) => lsRemote(repository, ref, timeoutMs, signal),
    async registryArchive(id, version, signal) {
      const asked = new URL(`/nodes/${encodeURIComponent(id)}/install`, registry);
      asked.searchParams.set('version', version);
      const response = await fetch(asked, { signal: within(timeoutMs, signal) });
      const answer: unknown = response.ok ? await response.json().catch(() => undefined) : undefined;
      const address = isObject(answer) && answer['version'] === version ? answer['downloadUrl'] : undefined;
      if (typeof address !== 'string' || !URL.canParse(address)) return undefined;
      const { protocol } = new URL(address);
      return protocol === 'https:' || protocol === registry.protocol
        ? hashOf(address, within(timeoutMs, signal))
        : undefined;
    },
  };
}

async function hashOf(address: string, signal: AbortSignal): Promise<RegistryArchive | undefined> {
  const response = await fetch(address, { signal });
  if (!response.ok || response.body === null) return undefined;
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > LARGEST_ARCHIVE) return undefined;
    hash.update(chunk);
  }
  return { sha256: hash.digest('hex') };
}

function within(timeoutMs: number, signal: AbortSignal | undefined): AbortSignal {
  const timeout = AbortSignal.timeout(timeoutMs);
  return signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
}

async function lsRemote(
  repository: string,
  ref: string | undefined,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<PinnedCommit | 'private' | undefined> {
  const wanted =
    ref === undefined ? ['HEAD'] : [`refs/heads/${ref}`, `refs/tags/${ref}`, `refs/tags/${ref}^{}`];
  const answer = await new Promise<{ readonly text: string; readonly problem: string | undefined }>(
    (resolve) => {
      const env = {
        PATH: process.env['PATH'],
        GIT_TERMINAL_PROMPT: '0',
        GIT_ALLOW_PROTOCOL: 'https:file',
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_GLOBAL: '/dev/null',
        LC_ALL: 'C',
      };
      const child = execFile(
        'git',
        ['ls-remote', '--', repository, ...wanted],
        { env, timeout, ...(signal === undefined ? {} : { signal }) },
        (error, stdout, stderr) => resolve({ text: stdout, problem: error === null ? undefined : stderr }),
      );
      child.stdin?.end();
    },
  );
  signal?.throwIfAborted();
  if (answer.problem !== undefined)
    return /could not read Username|Authentication failed|not found/i.test(answer.problem)
      ? 'private'
      : undefined;
  const byRef = new Map(
    answer.text.split('\n').flatMap((line) => {
      const [commit = '', name = ''] = line.split('\t');
      return /^[0-9a-f]{40}$/.test(commit) ? [[name, commit] as const] : [];
    }),
  );
  // Of a tag with a message the commit is the one behind it.
  const commit = [...wanted]
    .reverse()
    .map((name) => byRef.get(name))
    .find((found) => found !== undefined);
  return commit === undefined ? undefined : { commit };
}
