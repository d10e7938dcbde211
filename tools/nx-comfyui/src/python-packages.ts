/**
 * Which Python packages a project of the uv workspace runs with, as uv.lock pins them: no development dependencies. Nx loads this
 * for every command, so that it reads the few lines it needs of what uv writes, and no TOML in general.
 */
import { createHash } from 'node:crypto';

/** What one package needs. */
interface Reference {
  readonly name: string;
  readonly version: string | undefined;
  readonly extras: readonly string[];
  /** As it is written, with marker and source. */
  readonly text: string;
}

interface LockedPackage {
  readonly name: string;
  readonly version: string;
  readonly source: string;
  readonly hashes: readonly string[];
  readonly dependencies: readonly Reference[];
  /** By extra. */
  readonly optional: ReadonlyMap<string, readonly Reference[]>;
}

/** Begins a package in what uv writes. */
const BLOCK = '\n[[package]]\n';

/**
 * The packages that a project of the lock file needs to run, itself included, each with its version, what it needs and the
 * hashes of its files: one line each, sorted. Where a registry was reached does not count.
 *
 * @param lock text of a uv.lock.
 * @throws {Error} where the lock has no such project, or is not what uv writes.
 */
export function pythonPackages(lock: string, project: string): readonly string[] {
  const blocks = blocksOf(lock);
  const lines = new Set<string>();
  const visited = new Set<string>();
  const waiting: Reference[] = [{ name: project, version: undefined, extras: [], text: '' }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { name, version, extras } = next;
    const key = `${name} ${version ?? ''} ${extras.join(',')}`;
    if (visited.has(key)) continue;
    visited.add(key);
    const packages = (blocks.get(name) ?? []).map((block) => parsePackage(name, block));
    const found = packages.filter((each) => version === undefined || each.version === version);
    if (found.length === 0)
      throw new Error(`uv.lock has no package ${name} ${version ?? ''}`.trimEnd() + '.');
    for (const each of found) {
      const needed = [...each.dependencies, ...extras.flatMap((extra) => each.optional.get(extra) ?? [])];
      lines.add(lineOf(each, needed));
      waiting.push(...needed);
    }
  }
  return [...lines].sort();
}

/**
 * A hash that changes exactly when {@link pythonPackages} do; that of the whole text where it cannot be read, so that nothing is
 * ever overlooked.
 */
export function pythonPackagesHash(lock: string, project: string): string {
  return createHash('sha256').update(packagesOrText(lock, project)).digest('hex');
}

function packagesOrText(lock: string, project: string): string {
  try {
    return pythonPackages(lock, project).join('\n');
  } catch {
    return lock;
  }
}

function blocksOf(lock: string): ReadonlyMap<string, readonly string[]> {
  const blocks = new Map<string, string[]>();
  for (const block of lock.replaceAll('\r\n', '\n').split(BLOCK).slice(1)) {
    const name = textOf(block, 'name');
    blocks.set(name, [...(blocks.get(name) ?? []), block]);
  }
  return blocks;
}

function parsePackage(name: string, block: string): LockedPackage {
  const [head = '', ...tables] = block.split(/\n(?=\[package\.)/);
  const optional = tables.find((table) => table.startsWith('[package.optional-dependencies]\n')) ?? '';
  const source = /^source = \{ (.+) \}$/m.exec(head)?.[1];
  if (source === undefined) throw new Error(`uv.lock says of ${name} nothing of its source.`);
  return {
    name,
    version: textOf(head, 'version'),
    source: source.startsWith('registry = ') ? 'registry' : source,
    hashes: [...head.matchAll(/\bhash = "([^"]+)"/g)].map(([, hash]) => hash ?? ''),
    dependencies: listsOf(head).get('dependencies') ?? [],
    optional: listsOf(optional),
  };
}

function textOf(block: string, key: string): string {
  return new RegExp(`^${key} = "([^"]*)"$`, 'm').exec(block)?.[1] ?? '';
}

/** Lists of references by their key. */
function listsOf(table: string): ReadonlyMap<string, readonly Reference[]> {
  const lists = table.matchAll(/^([\w.-]+) = \[\n((?: {4}\{ name = .*\n)*)\]$/gm);
  const found = new Map(
    [...lists].map(([, key = '', lines = '']) => [key, lines.trimEnd().split('\n').map(referenceOf)]),
  );
  if (/^dependencies = /m.test(table) !== found.has('dependencies'))
    throw new Error('uv.lock has a list of dependencies that cannot be read.');
  return found;
}

function referenceOf(line: string): Reference {
  const text = /^ {4}\{ (.+) \},$/.exec(line)?.[1] ?? '';
  const name = /^name = "([^"]+)"/.exec(text)?.[1];
  if (name === undefined) throw new Error(`uv.lock has a dependency that cannot be read: ${line}`);
  const extras = /, extra = \[([^\]]*)\]/.exec(text)?.[1] ?? '';
  return {
    name,
    version: /, version = "([^"]+)"/.exec(text)?.[1],
    extras: [...extras.matchAll(/"([^"]+)"/g)].map(([, extra]) => extra ?? '').sort(),
    text: text.replaceAll(/registry = "[^"]*"/g, 'registry'),
  };
}

function lineOf({ name, version, source, hashes }: LockedPackage, needed: readonly Reference[]): string {
  const edges = needed.map(({ text }) => text).sort();
  return [`${name}==${version}`, source, ...edges, ...hashes.toSorted()].join(' | ');
}
