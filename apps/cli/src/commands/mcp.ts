import path from 'node:path';
import process from 'node:process';
import type { Writable } from 'node:stream';

import { describeTarget, endpointsFolder, type Target } from '@ryla/business/config';
import { type Command, Option } from 'commander';

import { UsageError } from '../exit-codes.ts';
import { bearerToken, TOKEN_VARIABLE } from '../mcp/bearer-token.ts';
import { watchEndpoints } from '../mcp/endpoint-watch.ts';
import { listenHttp } from '../mcp/http-endpoint.ts';
import { createMcpServer } from '../mcp/mcp-server.ts';
import { createSessionLimits } from '../mcp/session-limits.ts';
import { reserveStdout, serveStdin } from '../mcp/stdio-endpoint.ts';
import { createWorkspaceTools, type WorkspaceTools } from '../mcp/workspace-tools.ts';
import { amount, portNumber, wholeNumber } from '../option-values.ts';
import { findWorkspace, type Workspace } from '../workspace.ts';

interface McpOptions {
  readonly target: Target;
  readonly workspace?: string;
  readonly endpoint?: readonly string[];
  readonly out: string;
  readonly files?: readonly string[];
  readonly inline: number;
  readonly wait: number;
  readonly maxJobs?: number;
  readonly maxCost?: number;
  readonly http?: number;
}

/** Adds `ryla mcp`. */
export function addMcp(program: Command, version: string): void {
  program
    .command('mcp')
    .description("serve the workspace's endpoints as tools of the Model Context Protocol, for agents")
    .addOption(new Option('--target <target>', 'where jobs run').choices(['local', 'cloud']).default('local'))
    .option('--workspace <folder>', 'the workspace; otherwise the one that the current folder is in')
    .option('-e, --endpoint <name...>', 'only these endpoints')
    .option('-o, --out <folder>', 'where outputs are saved, from the workspace on', 'out')
    .option('--files <folder...>', 'further folders whose pictures, videos and sounds agents may send')
    .option(
      '--inline <MB>',
      'megabytes of pictures and sounds in one answer; larger ones are links to files',
      amount,
      1,
    )
    .option('--wait <seconds>', 'how long one call waits for its job, which then goes on', wholeNumber, 240)
    .option('--max-jobs <n>', 'jobs that agents may start while this runs', wholeNumber)
    .option('--max-cost <usd>', 'US dollars that these jobs may cost', amount)
    .option(
      '--http <port>',
      'serve Streamable HTTP on 127.0.0.1 instead of stdin and stdout; 0 for any port',
      portNumber,
    )
    .addHelpText(
      'after',
      `
Examples:
  ryla mcp                                     for a client that starts it itself (stdin and stdout)
  ryla mcp --endpoint photo-finish --max-jobs 20
  ryla mcp --target cloud --max-cost 0.50      real accounts, half a dollar at most
  ${TOKEN_VARIABLE}=… ryla mcp --http 8765      http://127.0.0.1:8765/mcp; without ${TOKEN_VARIABLE} a token is made and printed

A client such as Claude Code, Claude Desktop or Cursor takes
  { "mcpServers": { "ryla": { "command": "npx", "args": ["ryla", "mcp"] } } }
docs/agents.md says more. Ctrl-C, or the end of stdin, ends it; jobs that run go on.`,
    )
    .action(async (options: McpOptions) => serve(options, version));
}

async function serve(options: McpOptions, version: string): Promise<void> {
  // Before the configuration is loaded, which may print.
  const stdout = options.http === undefined ? reserveStdout() : undefined;
  const note = (text: string): void => {
    process.stderr.write(`${text}\n`);
  };
  const workspace = await findWorkspace(options.target, path.resolve(options.workspace ?? '.'));
  for (const name of options.endpoint ?? []) {
    if (!workspace.endpointNames().includes(name)) workspace.endpoint(name);
  }
  note(`Target: ${describeTarget(workspace)}`);
  const closing = new AbortController();
  const tools = createTools(workspace, options, closing.signal, note);
  const interrupted = signals();
  try {
    await connect(options, tools, { workspace, stdout, note, interrupted, info: infoOf(workspace, version) });
  } finally {
    closing.abort();
    await tools.close();
  }
}

interface Connection {
  readonly workspace: Workspace;
  readonly stdout: Writable | undefined;
  readonly note: (text: string) => void;
  readonly interrupted: Promise<void>;
  readonly info: { readonly version: string; readonly instructions: string };
}

async function connect(
  options: McpOptions,
  tools: WorkspaceTools,
  { workspace, stdout, note, interrupted, info }: Connection,
): Promise<void> {
  const onProblem = (error: unknown): void => note(error instanceof Error ? error.message : String(error));
  const server = () => createMcpServer(tools, info);
  const stdio = stdout === undefined ? undefined : serveStdin(stdout, server, onProblem);
  const http = stdio === undefined ? await listen(options.http ?? 0, server, note, onProblem) : undefined;
  let known = tools.version();
  const watch = watchEndpoints(
    endpointsFolder(workspace),
    () => {
      const now = tools.version();
      if (now === known) return;
      known = now;
      stdio?.toolsChanged();
      http?.toolsChanged();
    },
    (error) => note(`Changes of endpoints are not announced: ${String(error)}`),
  );
  try {
    await (stdio === undefined ? interrupted : Promise.race([interrupted, stdio.ended]));
  } finally {
    watch.close();
    await Promise.all([stdio?.close(), http?.close()]);
  }
}

async function listen(
  port: number,
  server: Parameters<typeof listenHttp>[0]['server'],
  note: (text: string) => void,
  onProblem: (error: unknown) => void,
): ReturnType<typeof listenHttp> {
  const { token, isNew } = bearerToken(process.env);
  try {
    const http = await listenHttp({ port, token, server, onProblem });
    note(`Listening on ${http.url}`);
    if (isNew) note(`Token (shown once; set ${TOKEN_VARIABLE} to choose it): ${token}`);
    return http;
  } catch (cause) {
    const isTaken = cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE';
    if (!isTaken) throw cause;
    throw new UsageError(`Port ${port} is taken. Choose another, or 0 for any that is free.`, 'usage', {
      cause,
    });
  }
}

function createTools(
  workspace: Workspace,
  options: McpOptions,
  closing: AbortSignal,
  note: (text: string) => void,
): WorkspaceTools {
  const { root } = workspace;
  const out = path.resolve(root, options.out);
  return createWorkspaceTools({
    workspace,
    endpoints: options.endpoint,
    access: { root, folders: [root, out, ...(options.files ?? []).map((folder) => path.resolve(folder))] },
    limits: createSessionLimits({ maxJobs: options.maxJobs, maxUsd: options.maxCost }),
    note,
    out,
    inlineBytes: options.inline * 1_000_000,
    waitMs: options.wait * 1_000,
    closing,
  });
}

function infoOf(workspace: Workspace, version: string): Connection['info'] {
  const money =
    workspace.target === 'cloud'
      ? 'Jobs run on real accounts and cost money: start only those that the person asked for.'
      : 'Jobs run on stand-ins for the clouds on this machine and cost nothing; pictures of workflows that need a model are simulated and marked so.';
  const instructions = [
    'Each tool without an underscore in its name is a ComfyUI workflow that makes pictures, videos or sounds; its description says what it makes and how long it takes.',
    'A call waits for its job, reports progress, saves every output to a file, and has small pictures in its answer. Canceling a call cancels its job.',
    'Where the answer says that a job goes on, call job_result with its jobId.',
    money,
  ];
  return { version, instructions: instructions.join(' ') };
}

/** Resolves when this program is asked to end. */
function signals(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
}
