import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { clonedRepository, git } from '../../../test-support/git-repository.ts';
import { publicResolver } from './pin-resolver.ts';

const COMMIT = 'a'.repeat(40);
const SHA = 'b'.repeat(64);

describe('asking the network', () => {
  let server: Server;
  let folder = '';
  const asked: string[] = [];
  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'resolver-'));
    asked.length = 0;
    server = createServer((request, response) => {
      asked.push(`${request.method ?? ''} ${request.url ?? ''}`);
      if (request.url?.startsWith('/nodes/') === true) {
        const downloadUrl = `http://${request.headers.host ?? ''}/known-nodes-1.2.3.zip`;
        if (request.url === '/nodes/known-nodes/install?version=1.2.3')
          response.end(JSON.stringify({ version: '1.2.3', downloadUrl }));
        else if (request.url.startsWith('/nodes/other-version/'))
          response.end(JSON.stringify({ version: '2.0.0', downloadUrl }));
        else if (request.url.startsWith('/nodes/elsewhere/'))
          response.end(JSON.stringify({ version: '1.2.3', downloadUrl: 'file:///etc/passwd' }));
        else response.writeHead(404).end('{}');
        return;
      }
      if (request.url === '/known-nodes-1.2.3.zip') {
        response.end('an archive');
        return;
      }
      if (request.url?.includes('/closed/') === true) response.writeHead(401);
      else if (request.url?.includes('small.json') === true)
        response.writeHead(200, { 'x-repo-commit': COMMIT, etag: '"f00"' });
      else if (request.url?.includes('gone') === true) response.writeHead(404);
      else {
        response.writeHead(302, {
          location: 'https://cdn.example.com/x',
          'x-repo-commit': COMMIT,
          'x-linked-size': '5',
          'x-linked-etag': `"${SHA}"`,
        });
      }
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(async () => {
    rmSync(folder, { recursive: true });
    await new Promise((resolve) => server.close(resolve));
  });

  function resolver() {
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return publicResolver({ huggingFace: address, registry: address });
  }

  it('pins a file of Hugging Face by its headers, without fetching it', async () => {
    const { file } = resolver();
    expect(await file('https://huggingface.co/a/b/resolve/main/dir/x.safetensors?download=true')).toEqual({
      url: `https://huggingface.co/a/b/resolve/${COMMIT}/dir/x.safetensors`,
      size: 5,
      sha256: SHA,
    });
    expect(asked).toEqual(['HEAD /a/b/resolve/main/dir/x.safetensors']);
    expect(await file('https://huggingface.co/a/closed/resolve/main/x.safetensors')).toBe('private');
    expect(await file('https://huggingface.co/a/b/resolve/main/small.json')).toBeUndefined();
    expect(await file('https://huggingface.co/a/b/resolve/main/gone.safetensors')).toBeUndefined();
    expect(await file('https://huggingface.co.example.com/a/b/resolve/main/x.safetensors')).toBeUndefined();
    expect(asked).toHaveLength(4);
  });

  it('finds commits of branches and tags by git', async () => {
    const repository = path.join(folder, 'repository');
    const first = clonedRepository(repository, undefined, { 'a.txt': '1' });
    git(repository, 'tag', '--annotate', '--message', 'one', 'v1.0');
    git(repository, 'commit', '--quiet', '--allow-empty', '--message', 'two');
    const { commit } = resolver();
    expect(await commit(repository, 'v1.0')).toEqual({ commit: first });
    expect(await commit(repository, 'main')).toEqual({ commit: git(repository, 'rev-parse', 'HEAD') });
    expect(await commit(repository, undefined)).toEqual({ commit: git(repository, 'rev-parse', 'HEAD') });
    expect(await commit(repository, 'nothing')).toBeUndefined();
    expect(await commit('--upload-pack=touch x', 'main')).toBeUndefined();
    expect(await commit('ext::sh -c true', 'main')).toBeUndefined();
  });

  it('reads the archive of a version in the Comfy registry for its hash', async () => {
    const { registryArchive } = resolver();
    expect(await registryArchive?.('known-nodes', '1.2.3')).toEqual({
      sha256: createHash('sha256').update('an archive').digest('hex'),
    });
    for (const id of ['../unknown', 'other-version', 'elsewhere'])
      expect(await registryArchive?.(id, '1.2.3'), id).toBeUndefined();
    expect(asked).toEqual([
      'GET /nodes/known-nodes/install?version=1.2.3',
      'GET /known-nodes-1.2.3.zip',
      'GET /nodes/..%2Funknown/install?version=1.2.3',
      'GET /nodes/other-version/install?version=1.2.3',
      'GET /nodes/elsewhere/install?version=1.2.3',
    ]);
  });
});
