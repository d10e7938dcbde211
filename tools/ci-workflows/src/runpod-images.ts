/** Images that a deploy to RunPod needs, from its plan and the endpoints' endpoint.json. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import type { EndpointConfig } from '@ryla/workflow';
import { loadEndpoint } from '@ryla/workflow/node';
import { z } from 'zod';

import { runStep, setOutput } from './step-output.ts';

/** What every image holds besides what endpoint.json asks for; their contents are part of its name. */
const SOURCES = [
  'apps/runpod/Dockerfile',
  'apps/runpod/image',
  'apps/runpod/pyproject.toml',
  'apps/runpod/src',
  'apps/modal/src/ryla_modal/requirements_lock.py',
  'apps/modal/src/ryla_modal/settings.py',
  'libs/worker',
];

/** An image to build, for one or more endpoints. */
export interface NeededImage {
  /** Hash of what it is made of; the same again is the same image. */
  readonly key: string;
  /** Registry, name and tag. */
  readonly name: string;
  /** Where its layers are kept between builds. */
  readonly cache: string;
  /** Lines of `NAME=value` for the Dockerfile. */
  readonly buildArgs: string;
  readonly endpoints: readonly string[];
}

/** The parts of a plan that say which endpoints are deployed. */
export const plan = z.object({
  endpoints: z.array(z.object({ endpoint: z.string(), provider: z.string(), action: z.string() })),
});

/** Endpoints of a plan that get something new on RunPod. */
export function endpointsToBuild(document: z.infer<typeof plan>): string[] {
  return document.endpoints
    .filter(({ provider, action }) => provider === 'runpod' && (action === 'create' || action === 'update'))
    .map(({ endpoint }) => endpoint);
}

/**
 * The images of endpoints. Endpoints that ask for the same share one.
 *
 * @param sourcesOf what {@link SOURCES} and the locked requirements of an endpoint hold, in any form that changes with them.
 * @param repository registry and name, in lower case.
 */
export function neededImages(
  configs: readonly EndpointConfig[],
  sourcesOf: (config: EndpointConfig) => string,
  repository: string,
): NeededImage[] {
  const images = new Map<string, NeededImage>();
  for (const config of configs) {
    const { comfyui, customNodes, image } = config;
    const key = createHash('sha256')
      .update(JSON.stringify([sourcesOf(config), comfyui, customNodes, image]))
      .digest('hex')
      .slice(0, 20);
    const first = images.get(key);
    images.set(key, {
      key,
      name: `${repository}:${key}`,
      cache: `${repository}:cache-${comfyui.version}`,
      buildArgs: first?.buildArgs ?? `ENDPOINT=${config.name}`,
      endpoints: [...(first?.endpoints ?? []), config.name],
    });
  }
  return [...images.values()];
}

/** Images by endpoint, from the files that the builds left: `{"photo-finish": "registry/name@sha256:…"}` each. */
export function joinImages(texts: readonly string[]): Record<string, string> {
  const digest = z.string().regex(/^[^\s@]+@sha256:[0-9a-f]{64}$/);
  const images = texts.map((text) => z.record(z.string(), digest).parse(JSON.parse(text)));
  return Object.fromEntries(images.flatMap((each) => Object.entries(each)));
}

/** Contents by git, without the endpoint's own name: equal requirements of two endpoints are one image. */
function sourcesAt(root: string, { name, comfyui }: EndpointConfig): string {
  const folder = `apps/endpoints/${name}/`;
  const locks = [`${folder}requirements`, `apps/modal/requirements/${comfyui.version}`];
  const args = ['ls-tree', '-r', 'HEAD', '--', ...SOURCES, ...locks];
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).replaceAll(folder, '');
}

function writeNeeded(file: string): void {
  const root = process.cwd();
  const repository =
    `ghcr.io/${process.env['GITHUB_REPOSITORY'] ?? 'local/workspace'}/ryla-runpod`.toLowerCase();
  const names = endpointsToBuild(plan.parse(JSON.parse(readFileSync(file, 'utf8'))));
  const configs = names.map((name) => loadEndpoint(path.join(root, 'apps/endpoints', name)).config);
  const images = neededImages(configs, (config) => sourcesAt(root, config), repository);
  for (const { name, endpoints } of images) console.log(`${name} for ${endpoints.join(', ')}`);
  setOutput('images', JSON.stringify(images));
}

function readBuilt(folder: string): string[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return files
    .filter((file) => path.basename(file) === 'image.json')
    .map((file) => readFileSync(path.join(folder, file), 'utf8'));
}

if (process.argv[1] === path.resolve(import.meta.filename)) {
  await runStep(() => {
    const [command, place] = process.argv.slice(2);
    if (command === 'needed' && place !== undefined) writeNeeded(place);
    else if (command === 'join' && place !== undefined)
      console.log(JSON.stringify(joinImages(readBuilt(place))));
    else throw new Error('Usage: runpod-images.ts needed <plan.json> | join <folder>');
  });
}
