import { logger, type Tree } from '@nx/devkit';
import fc from 'fast-check';
import ts from 'typescript';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Desk, filesBelow, workspaceTree } from '../../../test-support/endpoint-tree.ts';
import {
  resolver,
  smallerPicture,
  textToPicture,
  textToPictureOfThePage,
  unreachable,
} from '../../../test-support/example-workflows.ts';
import { LARGEST_WORKFLOW } from '../endpoint/workflow-source.ts';
import { workflowEndpoint } from './workflow-endpoint.ts';

let tree: Tree;
let desk: Desk;
let said: string[] = [];

beforeEach(() => {
  said = [];
  vi.spyOn(logger, 'info').mockImplementation((text: string) => void said.push(text));
  tree = workspaceTree();
  desk = new Desk();
});
afterEach(() => {
  vi.restoreAllMocks();
  desk[Symbol.dispose]();
});

const sources = { resolver, nodeMap: undefined };

describe('workflow-endpoint', () => {
  it('makes an endpoint of a file that the page saved, for both providers', async () => {
    const workflow = desk.put('fox.json', textToPictureOfThePage());
    await workflowEndpoint(tree, { name: 'red-fox', workflow }, sources);
    expect(filesBelow(tree, 'apps')).toMatchSnapshot();
    expect(tree.read('tsconfig.json', 'utf8')).toContain('./apps/endpoints/red-fox');
    expect(tree.read('docs/endpoints.md', 'utf8')).toMatchSnapshot();
    expect(said).toMatchSnapshot();
  });

  it.each(['modal', 'runpod'] as const)('makes an endpoint for %s alone', async (provider) => {
    const workflow = desk.put('small.json', smallerPicture());
    await workflowEndpoint(tree, { name: 'small', workflow, provider }, sources);
    const { 'apps/endpoints/small/endpoint.json': document, 'apps/endpoints/small/client.test.ts': test } =
      filesBelow(tree, 'apps');
    expect({ document, test }).toMatchSnapshot();
  });

  it('changes nothing when it is run again', async () => {
    const workflow = desk.put('fox.json', textToPictureOfThePage());
    await workflowEndpoint(tree, { name: 'red-fox', workflow }, sources);
    const before = filesBelow(tree, '.');
    await workflowEndpoint(tree, { name: 'red-fox', workflow }, { ...sources, resolver: unreachable });
    expect(filesBelow(tree, '.')).toEqual(before);
  });

  it('keeps the original byte for byte, and tells prettier so', async () => {
    const text = `${JSON.stringify(smallerPicture(), null, 7)}\n\n`;
    await workflowEndpoint(tree, { name: 'small', workflow: desk.put('small.json', text) }, sources);
    expect(tree.read('apps/endpoints/small/workflow.original.json', 'utf8')).toBe(text);
    expect(tree.read('.prettierignore', 'utf8')).toContain('apps/endpoints/*/workflow.original.json\n');
  });

  it('takes the sample from the ComfyUI folder that it reads', async () => {
    const comfyui = new Desk();
    try {
      comfyui.put('main.py', '');
      comfyui.put('comfyui_version.py', '__version__ = "0.3.70"\n');
      comfyui.put('input/example.png', Buffer.from('my picture'));
      const workflow = desk.put('small.json', smallerPicture());
      await workflowEndpoint(tree, { name: 'small', workflow, from: comfyui.folder }, sources);
      expect(tree.read('apps/endpoints/small/sample.png', 'utf8')).toBe('my picture');
      expect(tree.read('apps/endpoints/small/endpoint.json', 'utf8')).toContain('"0.3.70"');
    } finally {
      comfyui[Symbol.dispose]();
    }
  });

  it('names in the README what could not be pinned', async () => {
    const workflow = desk.put('fox.json', textToPictureOfThePage());
    await workflowEndpoint(tree, { name: 'red-fox', workflow }, { ...sources, resolver: unreachable });
    expect(tree.read('apps/endpoints/red-fox/endpoint.json', 'utf8')).not.toContain('"models"');
    expect(tree.read('apps/endpoints/red-fox/README.md', 'utf8')).toContain(
      'small.safetensors (checkpoints), from',
    );
  });
});

describe('what workflow-endpoint refuses', () => {
  async function refusal(name: string, workflow: string): Promise<string> {
    const before = filesBelow(tree, '.');
    const error: unknown = await workflowEndpoint(tree, { name, workflow }, sources).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(Error);
    expect(filesBelow(tree, '.')).toEqual(before);
    return error instanceof Error ? error.message : '';
  }

  it.each(['Poster', '../poster', 'a--b', '-a', 'a_b', 'a/b', '', '__proto__', 'p'.repeat(41), 'comfyui'])(
    'the name %j',
    async (name) => {
      expect(await refusal(name, desk.put('a.json', smallerPicture()))).toContain('cannot be the name');
    },
  );

  it('a name that another project or another workflow has', async () => {
    tree.write('libs/worker/project.json', '{ "name": "worker" }');
    const workflow = desk.put('a.json', smallerPicture());
    expect(await refusal('worker', workflow)).toContain('has a project "worker" already');
    await workflowEndpoint(tree, { name: 'small', workflow }, sources);
    expect(await refusal('small', desk.put('b.json', textToPicture()))).toContain('update-endpoint small');
  });

  it('classes that nobody knows, with their nodes', async () => {
    const api = { ...smallerPicture(), '9': { class_type: 'NobodyKnowsMe', inputs: {} } };
    expect(await refusal('small', desk.put('a.json', api))).toContain('NobodyKnowsMe (node 9)');
    const page = textToPictureOfThePage();
    const nodes = page['nodes'] as unknown[];
    nodes.push({ id: 40, type: 'NobodyKnowsMe', mode: 0, inputs: [], outputs: [], widgets_values: [] });
    const refused = await refusal('small', desk.put('b.json', page));
    expect(refused).toContain('NobodyKnowsMe (node 40)');
    expect(refused).toContain('--object-info=');
  });

  it('files that are no workflow', async () => {
    expect(await refusal('small', `${desk.folder}/none.json`)).toContain('there is no such file');
    expect(await refusal('small', desk.folder)).toContain('is not a file');
    expect(await refusal('small', desk.put('a.json', '{"nodes": ['))).toContain('not JSON');
    expect(await refusal('small', desk.put('b.json', new Uint8Array([0x89, 0x50, 0xff])))).toContain(
      'not JSON',
    );
    expect(await refusal('small', desk.put('c.json', '[]'))).toContain('c.json');
    expect(await refusal('small', desk.put('d.json', '{}'))).toContain('d.json');
    const { '1': loader } = smallerPicture();
    expect(await refusal('small', desk.put('e.json', { '1': loader }))).toContain('makes nothing');
    const large = desk.put('f.json', ' '.repeat(LARGEST_WORKFLOW + 1));
    expect(await refusal('small', large)).toContain('8.0 MiB');
  });

  it('an object_info that is none', async () => {
    const workflow = desk.put('a.json', smallerPicture());
    const objectInfo = desk.put('info.json', '[1]');
    await expect(workflowEndpoint(tree, { name: 'small', workflow, objectInfo }, sources)).rejects.toThrow(
      'info.json',
    );
  });
});

describe('any text in a workflow', () => {
  it('ends up in files that can be read again', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), fc.string(), async (prompt, title) => {
        const own = workspaceTree();
        const workflow = textToPicture();
        workflow['2'] = {
          class_type: 'CLIPTextEncode',
          inputs: { text: `${prompt} */ \${x} \` | <b>`, clip: ['1', 1] },
          _meta: { title: `${title.replaceAll('@', '')} */ <!-- -->` },
        };
        const file = desk.put('any.json', workflow);
        const description = `${title} */ | \` <!-- /inputs -->`;
        await workflowEndpoint(own, { name: 'any', workflow: file, description }, sources);
        const before = filesBelow(own, '.');
        for (const [name, text] of Object.entries(before)) {
          if (name.endsWith('.ts')) expect(syntaxErrors(text), `${name}\n${text}`).toEqual([]);
          if (name.endsWith('.json')) JSON.parse(text);
        }
        await workflowEndpoint(own, { name: 'any', workflow: file, description }, sources);
        expect(filesBelow(own, '.')).toEqual(before);
      }),
      { numRuns: 15 },
    );
  }, 60_000);
});

function syntaxErrors(text: string): string[] {
  const { diagnostics = [] } = ts.transpileModule(text, { reportDiagnostics: true });
  return diagnostics.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}
