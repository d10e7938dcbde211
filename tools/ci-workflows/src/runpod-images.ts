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
const SOURCES = ['apps/runpod/Dockerfile', 'apps/runpod/pyproject.toml', 'apps/runpod/src', 'libs/worker'];

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
  /** Why it cannot be built; empty where it can. */
  readonly problem: string;
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
 * @param sources what {@link SOURCES} hold, in any form that changes with them.
 * @param repository registry and name, in lower case.
 */
export function neededImages(
  configs: readonly EndpointConfig[],
  sources: string,
  repository: string,
): NeededImage[] {
  const images = new Map<string, NeededImage>();
  for (const config of configs) {
    const buildArgs = `COMFYUI_VERSION=${config.comfyui.version}`;
    const problem = cannotBuild(config);
    // What cannot be built is shared with nobody, so that it stops nobody else.
    const key = createHash('sha256')
      .update(JSON.stringify([sources, buildArgs, problem === '' ? '' : config.name]))
      .digest('hex')
      .slice(0, 20);
    const endpoints = [...(images.get(key)?.endpoints ?? []), config.name];
    const cache = `${repository}:cache-${config.comfyui.version}`;
    images.set(key, { key, name: `${repository}:${key}`, cache, buildArgs, endpoints, problem });
  }
  return [...images.values()];
}

/** An image without what its workflow needs would be deployed, and fail with its first job. */
function cannotBuild({ name, customNodes, image }: EndpointConfig): string {
  const asked = [
    ...(customNodes.length === 0 ? [] : ['customNodes']),
    ...(image.systemPackages.length === 0 ? [] : ['image.systemPackages']),
  ];
  if (asked.length === 0) return '';
  return `${name} asks for ${asked.join(' and ')}, which apps/runpod/Dockerfile does not install yet. Build its image by hand and deploy it with --image ${name}=<registry/name@sha256:…>, or take runpod out of its providers.`;
}

/** Images by endpoint, from the files that the builds left: `{"photo-finish": "registry/name@sha256:…"}` each. */
export function joinImages(texts: readonly string[]): Record<string, string> {
  const digest = z.string().regex(/^[^\s@]+@sha256:[0-9a-f]{64}$/);
  const images = texts.map((text) => z.record(z.string(), digest).parse(JSON.parse(text)));
  return Object.fromEntries(images.flatMap((each) => Object.entries(each)));
}

function sourcesAt(root: string): string {
  return execFileSync('git', ['ls-tree', '-r', 'HEAD', '--', ...SOURCES], { cwd: root, encoding: 'utf8' });
}

function writeNeeded(file: string): void {
  const root = process.cwd();
  const repository =
    `ghcr.io/${process.env['GITHUB_REPOSITORY'] ?? 'local/workspace'}/ryla-runpod`.toLowerCase();
  const names = endpointsToBuild(plan.parse(JSON.parse(readFileSync(file, 'utf8'))));
  const configs = names.map((name) => loadEndpoint(path.join(root, 'apps/endpoints', name)).config);
  const images = neededImages(configs, sourcesAt(root), repository);
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
