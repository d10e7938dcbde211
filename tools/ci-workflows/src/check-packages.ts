/**
 * `npm run test:packages [-- <package>…]`: what npm would get of each published package. publint and are-the-types-wrong look at the packed
 * files; then all of them are installed into an empty project, and every entry is imported; the Nx plugin makes and checks an
 * endpoint in an empty Nx workspace. Needs `npm run build` before.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';

import { nodeTool, WORKSPACE_ROOT } from './pinned-tools.ts';
import { type PublishablePackage, publishablePackages } from './publishable-packages.ts';
import { runStep } from './step-output.ts';

/** The Nx plugin among them. */
const PLUGIN = '@ryla/nx-comfyui';

function pack(each: PublishablePackage, folder: string): string {
  const place = path.join(folder, path.basename(each.folder));
  mkdirSync(place);
  execFileSync('npm', ['pack', '--silent', '--pack-destination', place], {
    cwd: path.join(WORKSPACE_ROOT, each.folder),
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [file] = readdirSync(place);
  if (file === undefined) throw new Error(`npm packed nothing of ${each.name}.`);
  return path.join(place, file);
}

function problemsOf(tarball: string): string[] {
  // ESM only: CommonJS imports it with `import()`, or `require` of a Node that can.
  const checks = [
    [nodeTool('publint'), 'run', tarball, '--strict'],
    [nodeTool('attw'), tarball, '--profile', 'esm-only', '--no-emoji', '--format', 'table-flipped'],
  ];
  return checks.flatMap(([program = '', ...args]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' });
    return status === 0 ? [] : [`${path.basename(program)}:\n${stdout}${stderr}`];
  });
}

function filesThatDoNotBelong(tarball: string): string[] {
  const files = execFileSync('tar', ['tzf', tarball], { encoding: 'utf8' }).split('\n');
  const missing = ['package/LICENSE', 'package/README.md'].filter((file) => !files.includes(file));
  const stray = files.filter((file) => /\.(test|bench)\.|\.tsbuildinfo$|\/fixtures\//.test(file));
  return [...missing.map((file) => `has no ${file}`), ...stray.map((file) => `holds ${file}`)];
}

function importAll(
  packages: readonly PublishablePackage[],
  tarballs: readonly string[],
  folder: string,
): void {
  const project = path.join(folder, 'project');
  mkdirSync(project);
  writeFileSync(path.join(project, 'package.json'), '{"name":"consumer","private":true,"type":"module"}\n');
  // pg is an optional peer, which the entry for PostgreSQL needs.
  const install = ['install', '--silent', '--ignore-scripts', '--no-audit', '--no-fund', ...tarballs, 'pg@8'];
  execFileSync('npm', install, { cwd: project, stdio: ['ignore', 'ignore', 'inherit'] });
  const entries = packages.flatMap((each) => each.entries);
  const program = `for (const entry of ${JSON.stringify(entries)}) {
    const names = Object.keys(await import(entry));
    if (names.length === 0) throw new Error(entry + ' exports nothing');
    console.log('imported ' + entry + ': ' + names.length + ' names');
  }`;
  execFileSync(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: project,
    stdio: 'inherit',
  });
}

/** A workspace of somebody else, with the packages from npm: an endpoint of a workflow file, seen by Nx and valid. */
function useInWorkspace(tarballs: readonly string[], folder: string): void {
  const root = path.join(folder, 'stranger');
  mkdirSync(root);
  const write = (file: string, content: unknown): void =>
    writeFileSync(path.join(root, file), JSON.stringify(content));
  write('package.json', { name: 'stranger', private: true, type: 'module' });
  write('nx.json', { plugins: [`${PLUGIN}/plugin`], analytics: false });
  write('flow.json', {
    1: { class_type: 'EmptyImage', inputs: { width: 64, height: 64, batch_size: 1, color: 0 } },
    2: { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'flow' } },
  });
  const { devDependencies } = JSON.parse(readFileSync(path.join(WORKSPACE_ROOT, 'package.json'), 'utf8')) as {
    readonly devDependencies: Readonly<Record<string, string>>;
  };
  const install = ['install', '--silent', '--ignore-scripts', '--no-audit', '--no-fund', ...tarballs];
  execFileSync('npm', [...install, `nx@${devDependencies['nx'] ?? ''}`], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const outer = Object.entries(process.env).filter(([name]) => !/^(?:NX|npm)_|^INIT_CWD$/.test(name));
  const nx = (...args: readonly string[]): string =>
    execFileSync(process.execPath, [path.join(root, 'node_modules/nx/dist/bin/nx.js'), ...args], {
      cwd: root,
      encoding: 'utf8',
      env: { ...Object.fromEntries(outer), NX_DAEMON: 'false', NX_WORKSPACE_ROOT_PATH: root },
    });
  nx('g', `${PLUGIN}:endpoint`, 'poster', '--workflow=flow.json', '--no-interactive');
  const projects: unknown = JSON.parse(nx('show', 'projects', '--json'));
  if (!Array.isArray(projects) || !projects.includes('poster')) throw new Error('Nx sees no project poster.');
  const said = nx('run', 'poster:validate', '--outputStyle=static');
  if (!said.includes('poster: valid')) throw new Error(`The new endpoint is not valid:\n${said}`);
  const document: unknown = JSON.parse(
    readFileSync(path.join(root, 'apps/endpoints/poster/openapi.json'), 'utf8'),
  );
  if (typeof document !== 'object') throw new Error('The new endpoint has no OpenAPI document.');
  console.log(`${PLUGIN}: made and validated an endpoint in an empty workspace`);
}

await runStep(() => {
  const folder = mkdtempSync(path.join(tmpdir(), 'packages-'));
  try {
    const wanted = process.argv.slice(2);
    const packages = publishablePackages(WORKSPACE_ROOT).filter(
      ({ name }) => wanted.length === 0 || wanted.includes(name),
    );
    const tarballs = packages.map((each) => pack(each, folder));
    const problems = packages.flatMap(({ name }, index) => {
      const tarball = tarballs[index] ?? '';
      const found = [...filesThatDoNotBelong(tarball), ...problemsOf(tarball)];
      console.log(`${name}: ${found.length === 0 ? 'nothing found' : 'FAILED'}`);
      return found.map((problem) => `${name} ${problem}`);
    });
    if (problems.length > 0) throw new Error(problems.join('\n'));
    importAll(packages, tarballs, folder);
    if (packages.some(({ name }) => name === PLUGIN)) useInWorkspace(tarballs, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
