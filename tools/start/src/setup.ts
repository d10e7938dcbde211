/** `npm run setup`: the Python environments, before anything that needs them. Says nothing when there is nothing to do. */
import path from 'node:path';
import process from 'node:process';

import { isSupportedNode, unsupportedNodeMessage } from './node-version.ts';
import { setUpPython } from './python-environment.ts';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');

if (!isSupportedNode(process.versions.node)) {
  console.error(unsupportedNodeMessage(process.versions.node, process.execPath));
  process.exit(1);
}
try {
  await setUpPython({ workspaceRoot, onStep: (step) => console.error(`setup: ${step}`) });
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
