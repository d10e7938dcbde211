import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { sqliteJobStore } from '@ryla/business';
import { modelsVerified } from '@ryla/migration';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { migrationWorkspace, type MigrationWorkspace } from '../../test-support/migration-workspace.ts';
import type { ModalCli } from '../deployment/modal-cli.ts';
import { createOutput } from '../output.ts';
import { copyLines } from './copy-lines.ts';
import { copyArguments, copyVolume, coveredBy } from './volume-command.ts';

const options = { target: 'cloud', volume: 'vol1', dataCenter: 'EU-RO-1' } as const;
const whole = {
  mode: 'copy' as const,
  source: 'EU-RO-1/vol1',
  complete: true,
  files: [{ path: 'vae/a', key: 'models/vae/a', size: 5, endpoints: [], state: 'verified' }],
  gone: [],
  refused: [],
  beside: [],
  notThere: [],
  leftOut: 0,
};
let place: MigrationWorkspace;

beforeEach(() => {
  place = migrationWorkspace('off');
});
afterEach(() => {
  place[Symbol.dispose]();
});

/** A `modal` that leaves a report and says a line, then ends as it is told. */
function modalThat(report: unknown, ends: () => Promise<string> = () => Promise.resolve('')): ModalCli {
  return {
    run(args, { onLog } = {}) {
      if (report !== undefined)
        writeFileSync(args[args.indexOf('--report') + 1] ?? '', JSON.stringify(report));
      onLog?.('1.0 MB of 2.0 MB, 50 %, 1 MB/s, 1 s left');
      return ends();
    },
  };
}

async function verifiedNote(): Promise<unknown> {
  await using store = await sqliteJobStore({ path: path.join(place.root, '.ryla/cloud/jobs.db') });
  return await modelsVerified(store, 'picture');
}

describe('the copy of a volume', () => {
  it('hands every option on', () => {
    const address = { volumeId: 'vol1', dataCenter: 'EU-RO-1' };
    expect(
      copyArguments(address, { ...options, plan: true, usedOnly: true, bandwidth: 80, s3Url: 'https://s' }),
    ).toEqual([
      'copy_volume.py',
      ...['--data-center', 'EU-RO-1', '--volume-id', 'vol1', '--plan', '--used-only'],
      ...['--bandwidth', '80', '--s3-url', 'https://s'],
    ]);
  });

  it('keeps what it found, and notes whose models are verified', async () => {
    const { err, out, code } = await place.run(() =>
      copyVolume({ ...options, json: true }, modalThat(whole)),
    );
    expect(code).toBe(0);
    expect(err).toContain('50 %');
    expect(JSON.parse(out)).toEqual(whole);
    const kept: unknown = JSON.parse(
      readFileSync(path.join(place.root, '.ryla/cloud/migration/volume-vol1.json'), 'utf8'),
    );
    expect(kept).toMatchObject({ volumeId: 'vol1', document: whole });
    expect(await verifiedNote()).toMatchObject({ source: 'EU-RO-1/vol1', files: 1 });
  });

  it('fails where not all is verified, and notes nobody', async () => {
    const failed = () => Promise.reject(new Error('exit 1'));
    const { code } = await place.run(() =>
      copyVolume(options, modalThat({ ...whole, complete: false }, failed)),
    );
    expect(code).toBe(1);
    expect(await verifiedNote()).toBeUndefined();
  });

  it('says why it did not run, and where the keys belong', async () => {
    const secret = () => Promise.reject(new Error('Secret ryla-runpod-s3 not found'));
    await expect(place.run(() => copyVolume(options, modalThat(undefined, secret)))).rejects.toThrow(
      'docs/migration-volume.md',
    );
    const refused = modalThat({ error: { code: 'access_denied', message: 'The keys are wrong.' } });
    await expect(place.run(() => copyVolume(options, refused))).rejects.toThrow('The keys are wrong.');
  });

  it('asks for a volume where none is named, and refuses contradictions', async () => {
    place.write('apps/endpoints/picture/endpoint.json', { name: 'picture' });
    await expect(place.run(() => copyVolume({ target: 'cloud' }))).rejects.toThrow('give --volume');
    await expect(place.run(() => copyVolume({ ...options, plan: true, check: true }))).rejects.toThrow(
      'Choose one',
    );
  });

  it('covers an endpoint by its own models, or by the whole volume', () => {
    const own = { ...whole, leftOut: 9, files: [{ ...whole.files[0]!, endpoints: ['picture'] }] };
    expect(coveredBy(own, 'vol1', 'picture', { models: 1, networkVolumes: [] })).toBe(true);
    expect(coveredBy(own, 'vol1', 'picture', { models: 2, networkVolumes: ['vol1'] })).toBe(false);
    expect(coveredBy(whole, 'vol1', 'picture', { models: 0, networkVolumes: ['vol1'] })).toBe(true);
    expect(coveredBy(own, 'vol1', 'picture', { models: 0, networkVolumes: ['vol1'] })).toBe(false);
    expect(coveredBy(whole, 'vol1', 'picture', { models: 0, networkVolumes: ['vol2'] })).toBe(false);
  });

  it('draws its progress again on a terminal, and drops what modal says of itself', async () => {
    const written: string[] = [];
    const stream = { write: (text: string) => written.push(text), isTTY: true, columns: 80 };
    const { out } = await place.run(() => {
      const lines = copyLines(createOutput(false), stream);
      lines.line('✓ Initialized. View run at https://modal.com');
      lines.line('1.0 MB of 2.0 MB, 50 %, 1 MB/s, 1 s left');
      lines.line('verified vae/a by md5 of the source');
      lines.close();
      return Promise.resolve();
    });
    expect(written).toEqual(['\r\x1b[K1.0 MB of 2.0 MB, 50 %, 1 MB/s, 1 s left', '\n']);
    expect(out).toBe('verified vae/a by md5 of the source\n');
  });
});
