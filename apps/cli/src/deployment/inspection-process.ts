/** The process that asks Nx. Little is imported here: it is started before the rest of a command is loaded. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** Beside this file, as source or built. */
const PROGRAM = fileURLToPath(
  new URL(`./nx-inspection-program${path.extname(import.meta.url)}`, import.meta.url),
);

/** A process that reads the workspace and waits for one question about it. */
export interface InspectionProcess extends Disposable {
  /**
   * Asks, once, in JSON; returns the answer's JSON.
   *
   * @throws {Error} with what Nx said, such as a broken project graph.
   */
  ask(request: unknown): Promise<string>;
}

/** Starts it: Nx takes its workspace from where it is loaded, once, so that it needs a process of its own. */
export function startInspection(root: string): InspectionProcess {
  const outer = Object.entries(process.env).filter(([name]) => !name.startsWith('NX_'));
  // A graph of many projects is some 100 MB of short-lived objects: a larger nursery collects them seldom.
  const child = spawn(process.execPath, ['--max-semi-space-size=64', '--conditions=@ryla/source', PROGRAM], {
    cwd: root,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      ...Object.fromEntries(outer),
      NX_DAEMON: 'false',
      NX_ISOLATE_PLUGINS: 'false',
      NX_WORKSPACE_ROOT_PATH: root,
    },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // Where it has ended already, its exit says why.
  child.stdin.on('error', () => undefined);
  const answer = new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      // Nx and its plugins may print before it: the answer is the last line.
      const line = stdout.trimEnd().split('\n').at(-1) ?? '';
      if (code === 0 && line !== '') resolve(line);
      else
        reject(
          new Error(
            `Nx could not read the workspace (it ended with ${String(code)}):\n${`${stderr}\n${stdout}`.trim()}`,
          ),
        );
    });
  });
  // Nobody may ask, such as after a wrong command line.
  answer.catch(() => undefined);
  return {
    ask(request) {
      child.stdin.end(JSON.stringify(request));
      return answer;
    },
    [Symbol.dispose]: () => void child.kill(),
  };
}
