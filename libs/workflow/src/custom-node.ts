import { z } from 'zod';

const name = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9._-]*$/, 'a folder name: letters, digits, dots, dashes, underscores')
  .describe('folder below custom_nodes');

const ofRepository = z.strictObject({
  name,
  repository: z.url({ protocol: /^https$/ }),
  commit: z.string().regex(/^[0-9a-f]{40}$/, 'a whole commit hash of 40 digits'),
});

const ofRegistry = z.strictObject({
  name,
  registry: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
      'an id of the registry: letters, digits, dots, dashes, underscores',
    )
    .describe('id of the package in the Comfy registry'),
  version: z
    .string()
    .regex(/^\d+(\.\d+)+([-+.][A-Za-z0-9.+-]+)?$/, 'a version such as 1.2.3, not latest or nightly')
    .describe('version in the Comfy registry, which never changes one that it has published'),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, '64 hexadecimal digits')
    .optional()
    .describe('of the archive that the registry serves; an image is not built with another one'),
});

/** A package of custom nodes in one content: a commit of its repository, or a version of the Comfy registry. */
export const customNode = z.union([ofRepository, ofRegistry]);

/** A custom node of an {@link EndpointConfig}. */
export type CustomNode = z.infer<typeof customNode>;

/** A custom node that is pinned by its version in the Comfy registry. */
export type RegistryNode = z.infer<typeof ofRegistry>;

/** Which package it is, whatever its commit or version: equal for equal packages. */
export function customNodePackage(node: CustomNode): string {
  if ('registry' in node) return `${node.registry.toLowerCase()} of the Comfy registry`;
  return node.repository
    .replace(/\/+$/, '')
    .replace(/\.git$/, '')
    .toLowerCase();
}

/**
 * Whether two custom nodes are one package. Of a repository and a package of the registry only names tell: that of the
 * folder or the repository, and the id.
 */
export function isSamePackage(one: CustomNode, other: CustomNode): boolean {
  if ('registry' in one === 'registry' in other) return customNodePackage(one) === customNodePackage(other);
  const names = new Set(namesOf(one));
  return namesOf(other).some((name) => names.has(name));
}

function namesOf(node: CustomNode): string[] {
  const published = 'registry' in node ? node.registry : (customNodePackage(node).split('/').at(-1) ?? '');
  return [node.name.toLowerCase(), published.toLowerCase()];
}

/** Its package and what it is pinned to, in words. */
export function customNodePin(node: CustomNode): string {
  return 'registry' in node
    ? `${node.registry} ${node.version} of the Comfy registry`
    : `${node.repository} at ${node.commit}`;
}

/** A package of the Comfy registry as a custom node; `undefined` where its version is none that means one content. */
export function registryPin(
  name: string,
  { id, version }: { readonly id: string; readonly version: string | undefined },
): RegistryNode | undefined {
  const pin = ofRegistry.safeParse({ name, registry: id, version: version?.replace(/^v/, '') });
  return pin.success ? pin.data : undefined;
}
