import { McpServer } from '@modelcontextprotocol/server';

import type { WorkspaceTools } from './workspace-tools.ts';

/** How the server introduces itself. */
export interface McpServerInfo {
  readonly version: string;
  /** What an agent should know before it calls anything. */
  readonly instructions: string;
}

/** A server of the Model Context Protocol over the tools of a workspace, for one connection. */
export function createMcpServer(tools: WorkspaceTools, { version, instructions }: McpServerInfo): McpServer {
  const mcp = new McpServer(
    { name: 'ryla', title: 'ComfyUI endpoints', version },
    { capabilities: { tools: { listChanged: true } }, instructions },
  );
  // The tools are looked up with every request: registered ones would be those of the moment of connecting.
  mcp.server.setRequestHandler('tools/list', async () => ({ tools: await tools.list() }));
  mcp.server.setRequestHandler('tools/call', ({ params }, context) =>
    tools.call(params.name, params.arguments ?? {}, context),
  );
  return mcp;
}
