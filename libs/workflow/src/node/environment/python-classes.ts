import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

/** Most Python files of a package that are read, and the largest, in bytes: packages with more bring libraries along. */
const MOST_FILES = 2_000;
const LARGEST_FILE = 2 * 1024 * 1024;

/**
 * Tells whether a package of custom nodes defines a class of nodes: whether its name is a text in its Python files, as
 * the keys of NODE_CLASS_MAPPINGS and `node_id` are. The files are read when it is first asked. Names that the code puts
 * together are not found.
 */
export function classFinder(folder: string): (className: string) => boolean {
  let texts: readonly string[] | undefined;
  return (className) => {
    texts ??= pythonFiles(folder).map((file) => readFileSync(file, 'utf8'));
    return texts.some((text) => text.includes(`"${className}"`) || text.includes(`'${className}'`));
  };
}

function pythonFiles(folder: string): string[] {
  const found: string[] = [];
  const pending = [folder];
  for (let next = pending.shift(); next !== undefined && found.length < MOST_FILES; next = pending.shift()) {
    for (const entry of readdirSync(next, { withFileTypes: true })) {
      const place = path.join(next, entry.name);
      if (entry.isDirectory() && !/^(?:\.|__pycache__|node_modules|venv|tests?$)/.test(entry.name))
        pending.push(place);
      else if (entry.isFile() && entry.name.endsWith('.py') && statSync(place).size <= LARGEST_FILE)
        found.push(place);
    }
  }
  return found.slice(0, MOST_FILES);
}
