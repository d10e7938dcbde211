/** A workspace with a migration in a temporary folder, in which commands run in this process. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';

import { type JobStore, sqliteJobStore } from '@ryla/business';
import { vi } from 'vitest';

/** What a command printed, and its exit code. */
export interface Said {
  readonly out: string;
  readonly err: string;
  readonly code: number;
}

/** The workspace. */
export interface MigrationWorkspace extends Disposable {
  readonly root: string;
  /** Text of ryla.migration.json. */
  migration(): string;
  write(file: string, content: unknown): string;
  store(): Promise<JobStore>;
  /** Runs a command's function and collects what it prints. */
  run(command: () => Promise<void>): Promise<Said>;
}

/** Makes it, with an endpoint `picture` that has no workflow yet. */
export function migrationWorkspace(stage: string, more: object = {}): MigrationWorkspace {
  const root = mkdtempSync(path.join(tmpdir(), 'ryla-migrate-'));
  const write = (file: string, content: unknown): string => {
    const place = path.join(root, file);
    mkdirSync(path.dirname(place), { recursive: true });
    writeFileSync(place, typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`);
    return place;
  };
  write('nx.json', {});
  write('ryla.migration.json', { endpoints: { picture: { stage, ...more } } });
  write('apps/endpoints/picture/endpoint.json', {
    name: 'picture',
    title: 'Picture',
    workflow: 'workflow.json',
    providers: { runpod: { endpointId: 'abc123', networkVolumes: ['vol1'] } },
  });
  const cwd = vi.spyOn(process, 'cwd').mockReturnValue(root);
  return {
    root,
    migration: () => readFileSync(path.join(root, 'ryla.migration.json'), 'utf8'),
    write,
    store: () => sqliteJobStore({ path: path.join(root, '.ryla/local/jobs.db') }),
    async run(command) {
      const text = { out: '', err: '' };
      const collect = (to: 'out' | 'err') => (chunk: unknown) => {
        text[to] += String(chunk);
        return true;
      };
      const spies = [
        vi.spyOn(process.stdout, 'write').mockImplementation(collect('out')),
        vi.spyOn(process.stderr, 'write').mockImplementation(collect('err')),
      ];
      const before = process.exitCode;
      process.exitCode = 0;
      try {
        await command();
        return { ...text, code: process.exitCode };
      } finally {
        process.exitCode = before;
        for (const spy of spies) spy.mockRestore();
      }
    },
    [Symbol.dispose]() {
      cwd.mockRestore();
      rmSync(root, { recursive: true, force: true });
    },
  };
}
