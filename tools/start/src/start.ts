/** `npm start`: checks the Node version before anything is loaded that needs a newer one. */
import process from 'node:process';

import { isSupportedNode, unsupportedNodeMessage } from './node-version.ts';

if (!isSupportedNode(process.versions.node)) {
  console.error(unsupportedNodeMessage(process.versions.node, process.execPath));
  process.exit(1);
}
const { start } = await import('./start-command.ts');
process.exit(await start(process.argv.slice(2)));
