import { formatFiles, type Tree } from '@nx/devkit';
import { type EndpointConfig, workflowPicture } from '@ryla/workflow';
import { coreObjectInfo } from '@ryla/workflow/node';

import { CLIENT_MARK, clientSource } from './client-source.ts';
import { type EndpointFolder, endpointNames, readEndpoint, writeDocument } from './endpoint-folder.ts';
import { endpointTable, TABLE_PAGE, TABLE_PART } from './endpoint-table.ts';
import { withPart } from './marked-part.ts';
import { openapiFragment } from './openapi-fragment.ts';
import { updateProjectReferences } from './project-references.ts';
import { PICTURE, updatedReadme } from './readme.ts';

/** Largest picture of a graph in a README, in pixels. */
const PICTURE_SIZE = { width: 1600, height: 1200 };

/** An endpoint whose files cannot be read, and why. */
export interface UnreadableEndpoint {
  readonly name: string;
  readonly problem: string;
}

/**
 * Writes all that follows from the endpoints' own files: clients, OpenAPI fragments, pictures, the marked parts of the
 * READMEs, the references of tsconfig.json and the table in the docs. An endpoint that cannot be read is left as it is
 * and returned: its `validate` target says what is wrong.
 */
export async function writeDerivedFiles(tree: Tree): Promise<UnreadableEndpoint[]> {
  const names = endpointNames(tree);
  const configs: EndpointConfig[] = [];
  const unreadable: UnreadableEndpoint[] = [];
  for (const name of names) {
    try {
      const endpoint = readEndpoint(tree, name);
      writeEndpointFiles(tree, endpoint);
      configs.push(endpoint.config);
    } catch (error) {
      unreadable.push({ name, problem: error instanceof Error ? error.message : String(error) });
    }
  }
  updateProjectReferences(tree, names);
  // A table without the broken one would hide it.
  if (unreadable.length === 0) updateTable(tree, configs);
  await formatFiles(tree);
  return unreadable;
}

function writeEndpointFiles(tree: Tree, endpoint: EndpointFolder): void {
  const { root, config } = endpoint;
  const client = `${root}/client.ts`;
  const isOwn = tree.exists(client) && tree.read(client, 'utf8')?.includes(CLIENT_MARK) === false;
  if (!isOwn) tree.write(client, clientSource(config));
  writeDocument(tree, `${root}/openapi.json`, openapiFragment(config));
  tree.write(`${root}/${PICTURE}`, picture(endpoint));
  const readme = `${root}/README.md`;
  const text = tree.exists(readme) ? tree.read(readme, 'utf8') : null;
  if (text !== null) tree.write(readme, updatedReadme(text, endpoint));
}

function picture({ config, original }: EndpointFolder): string {
  const svg = workflowPicture(original, coreObjectInfo(), {
    inputs: config.inputs,
    title: `The graph of ${config.name}`,
    size: PICTURE_SIZE,
  });
  return svg.endsWith('\n') ? svg : `${svg}\n`;
}

function updateTable(tree: Tree, configs: readonly EndpointConfig[]): void {
  const text = tree.exists(TABLE_PAGE) ? tree.read(TABLE_PAGE, 'utf8') : null;
  if (text !== null) tree.write(TABLE_PAGE, withPart(text, TABLE_PART, endpointTable(configs)));
}
