import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

import type { LocalClouds } from './clouds.ts';

/** Where the environment of running local clouds is written, for other commands to find. */
export const ENVIRONMENT_FILE = '.local-clouds/environment.json';

/** Writes {@link ENVIRONMENT_FILE} and returns a text that says how to point other tools at the clouds. */
export async function howToUse(
  clouds: LocalClouds,
  workspaceRoot: string,
  deployed?: { readonly endpoint: string; readonly runpodEndpointId: string },
): Promise<string> {
  const { modal, runpod, engine } = clouds.description;
  const variables: Record<string, string> = {
    ...clouds.environment,
    RYLA_MODAL_PROXY_KEY: modal.proxyKey,
    RYLA_MODAL_PROXY_SECRET: modal.proxySecret,
    RYLA_MODAL_WEB_URL: modal.webUrl,
    RYLA_MODAL_WORKSPACE: modal.workspace,
    ...(clouds.apiToken === undefined ? {} : { RYLA_API_TOKEN: clouds.apiToken }),
  };
  const file = path.join(workspaceRoot, ENVIRONMENT_FILE);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(
    `${file}.new`,
    `${JSON.stringify({ ...clouds.description, environment: variables }, null, 2)}\n`,
    { mode: 0o600 },
  );
  await rename(`${file}.new`, file);
  const lines = [
    'Point other tools at the local clouds with this environment:',
    ...Object.entries(variables).map(([name, value]) => `  export ${name}=${value}`),
    '',
    `Modal:   control plane ${modal.serverUrl}, web functions http://${modal.workspace}--<label>.localhost:${new URL(modal.webUrl).port}`,
    `RunPod:  ${runpod.apiUrl}, management API ${runpod.managementUrl}`,
    `Volumes: S3 API ${runpod.s3.url} with the keys ${runpod.s3.accessKey} and ${runpod.s3.secretKey}; files below ${runpod.s3.folder}`,
    ...Object.entries(runpod.s3.buckets).map(
      ([id, dataCenter]) =>
        `         modal run copy_volume.py --data-center ${dataCenter} --volume-id ${id} --plan   (in apps/modal)`,
    ),
    `Control: ${modal.webUrl}/_local/state, ${runpod.apiUrl.replace(/\/v2$/, '')}/_local/state, and /_local/faults beside them`,
    `Engine:  ${engine['COMFYUI_URL'] ?? engine['COMFYUI_DIR'] ?? ''}`,
    `Log:     ${clouds.logFile}`,
  ];
  if (deployed !== undefined) {
    const url = clouds.modalUrl(`ryla-${deployed.endpoint}-api`);
    lines.push(
      '',
      `Endpoint ${deployed.endpoint}:`,
      `  curl -H "Modal-Key: ${modal.proxyKey}" -H "Modal-Secret: ${modal.proxySecret}" ${url}/health`,
      `  curl -H "Authorization: Bearer ${runpod.apiKey}" ${runpod.apiUrl}/${deployed.runpodEndpointId}/health`,
    );
  }
  return lines.join('\n');
}

/** Removes {@link ENVIRONMENT_FILE}: the clouds that it describes are gone. */
export async function forgetClouds(workspaceRoot: string): Promise<void> {
  await rm(path.join(workspaceRoot, ENVIRONMENT_FILE), { force: true });
}
