/** How the local clouds of a workspace are reached, as `npm run clouds` leaves it in a file. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { z } from 'zod';

import { ComfyUIServiceError } from './errors.ts';

/** Where `npm run clouds` says how the local clouds are reached, from the root of the workspace. */
export const LOCAL_CLOUDS_FILE = '.local-clouds/environment.json';

/** What `local-clouds` prints when it is ready, as far as callers need it. */
export const localClouds = z.object({
  modal: z.object({
    serverUrl: z.url(),
    webUrl: z.url(),
    workspace: z.string(),
    proxyKey: z.string(),
    proxySecret: z.string(),
  }),
  runpod: z.object({ apiUrl: z.url(), apiKey: z.string() }),
  environment: z.record(z.string(), z.string()),
});

/** Addresses, credentials and environment of running local clouds. */
export type LocalCloudsState = z.infer<typeof localClouds>;

/**
 * How the running local clouds are reached.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration`, saying how to start them, when they have left nothing to read.
 */
export function readLocalClouds(workspaceRoot: string): LocalCloudsState {
  const file = path.join(workspaceRoot, LOCAL_CLOUDS_FILE);
  if (!existsSync(file)) {
    throw new ComfyUIServiceError(
      'invalid_configuration',
      `The local clouds are not running: ${LOCAL_CLOUDS_FILE} does not exist. Start them with \`npm run clouds\`, or choose a real cloud with \`--target cloud\`.`,
    );
  }
  try {
    return localClouds.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    throw new ComfyUIServiceError(
      'invalid_configuration',
      `${LOCAL_CLOUDS_FILE} cannot be understood. Restart \`npm run clouds\`, which writes it.`,
      { cause },
    );
  }
}

/** Address of a web function on the local Modal, without relying on names below `localhost` to resolve. */
export function localWebUrl({ modal }: LocalCloudsState, label: string): string {
  return new URL(`/_w/${modal.workspace}--${label}`, modal.webUrl).href;
}
