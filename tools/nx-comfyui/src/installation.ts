import path from 'node:path';

/**
 * Whether this package was installed from npm into somebody's workspace: Node resolves a workspace's link to the folder behind it.
 * Such a workspace has no apps/modal, apps/runpod or local clouds.
 */
export const IS_INSTALLED = import.meta.dirname.split(path.sep).includes('node_modules');
