#!/usr/bin/env node
// Starts ryla from its source, or what is built of it where there is no source, with a Node that can run it: `npx ryla` puts node_modules/.bin in front of the machine's own.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  console.error(
    `Node ${process.versions.node} is too old: 22.19 or newer is needed. Run ryla through npx (\`npx ryla …\`) in the workspace.`,
  );
  process.exit(1);
}
const source = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const built = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const program = existsSync(source) ? ['--conditions=@ryla/source', source] : [built];
// What Node made of the sources is kept, which halves the time to start; a folder that cannot be written is no error.
const cache = fileURLToPath(new URL('../../../node_modules/.cache/ryla', import.meta.url));
const child = spawn(process.execPath, [...program, ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { NODE_COMPILE_CACHE: cache, ...process.env },
});
// The terminal's Ctrl-C reaches the child by itself; what is sent to this process alone is passed on.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
