import type { EnvironmentKind, UnpinnedPart } from './environment.ts';

/** A package of custom nodes as a source names it. */
export interface NodeFinding {
  /** Folder below custom_nodes, or name of the package. */
  readonly name: string;
  /** https address of the repository. */
  readonly repository?: string | undefined;
  /** Whole commit of 40 digits. */
  readonly commit?: string | undefined;
  /** Branch, tag or short commit, where no whole commit is named; the default branch without either. */
  readonly ref?: string | undefined;
  /** Package in the Comfy registry and its version. */
  readonly registry?: { readonly id: string; readonly version: string | undefined } | undefined;
  /** What keeps it from being pinned, whatever else is known. */
  readonly problem?: Omit<UnpinnedPart, 'part' | 'name' | 'known'> | undefined;
  /** Whether a class is defined in it; for sources that have its code. */
  readonly defines?: ((className: string) => boolean) | undefined;
}

/** A model file as a source names it. */
export interface ModelFinding {
  readonly filename: string;
  /** Folder below models; `undefined` where the source does not say it. */
  readonly directory: string | undefined;
  readonly url?: string | undefined;
  readonly size?: number | undefined;
  readonly sha256?: string | undefined;
  readonly problem?: Omit<UnpinnedPart, 'part' | 'name' | 'known'> | undefined;
}

/** What a source names, before anything is pinned. */
export interface Findings {
  readonly kind: EnvironmentKind;
  readonly comfyui: {
    readonly version?: string | undefined;
    readonly commit?: string | undefined;
    readonly problem?: Omit<UnpinnedPart, 'part' | 'name' | 'known'> | undefined;
  };
  readonly gpu: string | undefined;
  readonly nodes: readonly NodeFinding[];
  readonly models: readonly ModelFinding[];
  /** What the source has beside these and cannot be followed. */
  readonly other: readonly UnpinnedPart[];
}

/**
 * The public https form of a repository's address: `git@github.com:user/name.git` and `ssh://git@…` as https, without
 * `.git` and without a user's name or token.
 */
export function publicRepository(address: string): {
  readonly url: string | undefined;
  readonly hadSecret: boolean;
} {
  const scp = /^[\w.-]+@([\w.-]+):(?!\/)(.+)$/.exec(address);
  const text = scp === null ? address : `https://${scp[1] ?? ''}/${scp[2] ?? ''}`;
  if (!URL.canParse(text)) return { url: undefined, hadSecret: false };
  const url = new URL(text);
  const isRemote =
    url.protocol === 'https:' ||
    url.protocol === 'ssh:' ||
    url.protocol === 'git:' ||
    url.protocol === 'http:';
  if (!isRemote) return { url: undefined, hadSecret: false };
  const hadSecret = url.password !== '' || (url.protocol.startsWith('http') && url.username !== '');
  const name = url.pathname.replace(/\/+$/, '').replace(/\.git$/, '');
  return { url: `https://${url.host}${name}`, hadSecret };
}

/** An address without passwords and tokens, and whether it had any. */
export function withoutSecrets(address: string): { readonly url: string; readonly hadSecret: boolean } {
  if (!URL.canParse(address)) return { url: address, hadSecret: false };
  const url = new URL(address);
  let hadSecret = url.username !== '' || url.password !== '';
  url.username = '';
  url.password = '';
  for (const key of [...url.searchParams.keys()]) {
    if (!/token|key|secret|signature|password|credential/i.test(key)) continue;
    hadSecret = true;
    url.searchParams.delete(key);
  }
  return { url: url.href, hadSecret };
}

/** Whether two addresses name one repository. */
export function isSameRepository(left: string, right: string): boolean {
  const plain = (address: string) =>
    (publicRepository(address).url ?? address)
      .toLowerCase()
      .replace('comfyanonymous/comfyui', 'comfy-org/comfyui');
  return plain(left) === plain(right);
}

/** Whether an address is that of ComfyUI itself, under its old or its new owner. */
export function isComfyui(repository: string): boolean {
  return /^https:\/\/github\.com\/(?:comfyanonymous|comfy-org)\/comfyui$/i.test(
    publicRepository(repository).url ?? '',
  );
}

/** Version of a release of ComfyUI by its tag: `v0.3.64`, `0.3.64`. */
export function releaseVersion(ref: string | undefined): string | undefined {
  return ref === undefined ? undefined : /^v?(\d+\.\d+\.\d+)$/.exec(ref)?.[1];
}

/** Last part of an address or path. */
export function lastPart(address: string): string {
  return (
    address
      .replace(/\/+$/, '')
      .split('/')
      .at(-1)
      ?.replace(/\.git$/, '') ?? address
  );
}

export const COMMIT = /^[0-9a-f]{40}$/;
