import type { Tree } from '@nx/devkit';
import type { EndpointConfig } from '@ryla/workflow';

import type { ProviderChoice } from '../endpoint/endpoint-document.ts';
import { endpointRoot } from '../endpoint/endpoint-folder.ts';
import { clientNames } from '../endpoint/identifiers.ts';
import { isFile, isNeeded } from '../endpoint/input-words.ts';

/** What a new endpoint's test does. */
export interface TestChoices {
  readonly config: EndpointConfig;
  readonly provider: ProviderChoice;
  /** File beside endpoint.json by input, for inputs that must be given. */
  readonly samples: ReadonlyMap<string, string>;
  /** Whether it saves pictures, which both clouds must make alike; comfy-sim saves no videos and sounds. */
  readonly savesPictures: boolean;
  /** Why it cannot run on the local clouds by itself, in a sentence; `undefined` where it can. */
  readonly notLocally: string | undefined;
}

/** tsconfig.json of an endpoint. */
export const TSCONFIG = `${JSON.stringify(
  {
    extends: '../../../tsconfig.base.json',
    compilerOptions: { rootDir: '.', outDir: 'out-tsc', tsBuildInfoFile: 'out-tsc/tsconfig.tsbuildinfo' },
    include: ['*.ts'],
    references: [{ path: '../../../libs/workflow' }],
  },
  null,
  2,
)}\n`;

const BASE = 'tsconfig.base.json';

/** The same in a workspace that installed this package: by its own rules, if it has any. */
export function installedTsconfig(tree: Tree): string {
  const own = { target: 'es2023', module: 'nodenext', strict: true, skipLibCheck: true };
  const compilerOptions = {
    ...(tree.exists(BASE) ? {} : own),
    composite: true,
    rootDir: '.',
    outDir: 'out-tsc',
    rewriteRelativeImportExtensions: true,
  };
  const base = tree.exists(BASE) ? { extends: `../../../${BASE}` } : {};
  return `${JSON.stringify({ ...base, compilerOptions, include: ['*.ts'] }, null, 2)}\n`;
}

/** vitest.config.ts of an endpoint. */
export function vitestConfig(name: string): string {
  return `import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: import.meta.dirname,
  cacheDir: '../../../node_modules/.vite/apps/endpoints/${name}',
  resolve: { conditions: ['@ryla/source'] },
  ssr: { resolve: { conditions: ['@ryla/source', 'node', 'import', 'module', 'default'] } },
  test: { name: '${name}', include: ['*.test.ts'] },
});
`;
}

/** client.test.ts of a new endpoint: its inputs reach the workflow, and it runs on the local clouds. */
export function clientTest(choices: TestChoices): string {
  const { config, samples, notLocally } = choices;
  const { name } = config;
  const { constant } = clientNames(name);
  const needed = Object.entries(config.inputs).filter(([, input]) => isNeeded(input));
  const values = needed.map(([input, declared]) =>
    isFile(declared)
      ? `${input}: { path: ${quoted(samples.get(input) ?? 'sample')} }`
      : `${input}: ${quoted(exampleOf(declared))}`,
  );
  const local =
    notLocally === undefined
      ? `\n\n${localTest(choices)}`
      : `\n\n  // Not run on the local clouds: ${notLocally}`;
  return [
    ...(notLocally === undefined
      ? [
          `import { execFile } from 'node:child_process';`,
          `import { mkdtemp, rm } from 'node:fs/promises';`,
          `import { tmpdir } from 'node:os';`,
          `import path from 'node:path';`,
          `import process from 'node:process';`,
          `import { promisify } from 'node:util';`,
          '',
        ]
      : []),
    `import { applyInputs } from '@ryla/workflow';`,
    `import { describe, expect, it } from 'vitest';`,
    '',
    `import { ${constant}, ${constant}Inputs } from './client.ts';`,
    '',
    `describe('${name}', () => {
  it('sets its inputs in its workflow', () => {
    const inputs = ${constant}Inputs.parse({ ${values.join(', ')} });
    const { workflow } = applyInputs(${constant}.config, ${constant}.workflow, inputs);
    expect(Object.keys(workflow)).toEqual(Object.keys(${constant}.workflow));
  });

  it('names the inputs of endpoint.json, and no others', () => {
    expect(Object.keys(${constant}Inputs.shape)).toEqual(Object.keys(${constant}.config.inputs));
    expect(${constant}Inputs.safeParse({ unknown: true }).success).toBe(false);
  });${local}
});
`,
  ].join('\n');
}

const TITLES: Readonly<Record<ProviderChoice, string>> = {
  both: 'runs on the local Modal and the local RunPod',
  modal: 'runs on the local Modal',
  runpod: 'runs on the local RunPod',
};

function localTest({ config, provider, samples, savesPictures }: TestChoices): string {
  const needed = Object.entries(config.inputs).filter(([, input]) => isNeeded(input));
  const given = needed.flatMap(([input, declared]) => {
    const value = isFile(declared)
      ? `${endpointRoot(config.name)}/${samples.get(input) ?? 'sample'}`
      : exampleOf(declared);
    return [`'--input'`, quoted(`${input}=${value}`)];
  });
  const options = [
    `'--endpoint'`,
    quoted(config.name),
    ...(provider === 'both' ? [] : [`'--backend'`, quoted(provider)]),
    ...given,
  ];
  const backends = provider === 'both' ? ['modal', 'runpod'] : [provider];
  const results = backends.map((backend) => `{ backend: '${backend}', status: 'succeeded' }`).join(', ');
  return `  it('${TITLES[provider]}', { timeout: 120_000 }, async ({ signal }) => {
    const out = await mkdtemp(path.join(tmpdir(), '${config.name}-'));
    try {
      const workspace = path.resolve(import.meta.dirname, '../../..');
      const start = ['--conditions=@ryla/source', 'tools/start/src/start.ts', '--json', '--out', out];
      const options = [${options.join(', ')}];
      const run = { cwd: workspace, signal };
      const { stdout } = await promisify(execFile)(process.execPath, [...start, ...options], run);
      expect(JSON.parse(stdout)).toMatchObject({ results: [${results}]${provider === 'both' && savesPictures ? ', pixelsEqual: true' : ''} });
    } finally {
      await rm(out, { recursive: true, force: true });
    }
  });`;
}

/** A value that an input without a default accepts. */
function exampleOf(input: EndpointConfig['inputs'][string]): string | number | boolean {
  switch (input.type) {
    case 'integer':
    case 'number':
      return input.minimum ?? input.maximum ?? 1;
    case 'boolean':
      return true;
    case 'enum':
      return input.values[0] ?? '';
    default:
      return 'example'.slice(
        0,
        input.type === 'string' || input.type === 'text' ? input.maxLength : undefined,
      );
  }
}

/** A text as TypeScript has it; prettier chooses the quotes. */
function quoted(value: string | number | boolean): string {
  return JSON.stringify(value);
}
