/** A workspace in memory, and workflow files on the disk, as a generator's user has them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import type { Tree } from '@nx/devkit';
import { createTreeWithEmptyWorkspace } from '@nx/devkit/testing';

/** A workspace as the generators find it: with the settings that its files are formatted by. */
export function workspaceTree(): Tree {
  const tree = createTreeWithEmptyWorkspace();
  for (const file of tree.children('.').filter((name) => /oxfmt/.test(name))) tree.delete(file);
  tree.write('.prettierrc', '{ "printWidth": 110, "singleQuote": true, "trailingComma": "all" }\n');
  tree.write('tsconfig.json', '{ "files": [], "references": [{ "path": "./libs/workflow" }] }\n');
  tree.write(
    'docs/endpoints.md',
    '# Endpoints\n\n<!-- endpoints: written by `npx nx sync` -->\n<!-- /endpoints -->\n\nMore.\n',
  );
  return tree;
}

/** Texts of the files below a folder; binary files by their size. */
export function filesBelow(tree: Tree, folder: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of tree.children(folder).sort()) {
    const file = folder === '.' ? name : `${folder}/${name}`;
    if (!tree.isFile(file)) Object.assign(files, filesBelow(tree, file));
    else if (/\.(?:png|wav|svg)$/.test(name)) files[file] = `(${tree.read(file)?.length ?? 0} bytes)`;
    else files[file] = tree.read(file, 'utf8') ?? '';
  }
  return files;
}

/** A folder for the files of one test. */
export class Desk implements Disposable {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'desk-'));

  /** Writes a file, JSON for what is no text, and returns its path. */
  put(name: string, content: unknown): string {
    const file = path.join(this.folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    const isText = typeof content === 'string' || content instanceof Uint8Array;
    writeFileSync(file, isText ? content : JSON.stringify(content));
    return file;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
