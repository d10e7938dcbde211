import { createHash } from 'node:crypto';

import { AwsClient } from 'aws4fetch';
import { describe, expect, it } from 'vitest';

import { contentOf } from './file-content.ts';
import { s3InputBucket } from './input-bucket.ts';
import { httpStandIn } from './testing/http-stand-in.ts';

const signal = AbortSignal.timeout(120_000);
const keys = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};

function contentOfText(text: string) {
  const fetch = (): never => {
    throw new Error('not needed');
  };
  return contentOf({ name: 'a.png', bytes: Buffer.from(text) }, { signal, maximumBytes: 1_000, fetch });
}

/** A bucket that checks every signature by making it again. */
async function bucketStandIn(objects: Map<string, Buffer>) {
  const client = new AwsClient({ ...keys, region: 'eu-central-1', service: 's3' });
  const url = Promise.withResolvers<string>();
  const standIn = await httpStandIn((request, response) => {
    const answer = async (): Promise<void> => {
      const asked = new URL(request.path, await url.promise);
      const signature = asked.searchParams.get('X-Amz-Signature');
      const datetime = asked.searchParams.get('X-Amz-Date') ?? '';
      for (const name of [...asked.searchParams.keys()])
        if (name !== 'X-Amz-Expires') asked.searchParams.delete(name);
      const again = await client.sign(asked, { method: request.method, aws: { signQuery: true, datetime } });
      if (new URL(again.url).searchParams.get('X-Amz-Signature') !== signature)
        response.writeHead(403).end('SignatureDoesNotMatch');
      else if (request.method === 'PUT') {
        objects.set(asked.pathname, request.body);
        response.end();
      } else {
        const object = objects.get(asked.pathname);
        if (object === undefined) response.writeHead(404).end();
        else
          response
            .writeHead(200, { 'content-length': object.length })
            .end(request.method === 'HEAD' ? '' : object);
      }
    };
    answer().catch(() => response.destroy());
  });
  url.resolve(standIn.url);
  return standIn;
}

describe('an input bucket', () => {
  it('stores a content once and hands it on by an address that needs no credentials', async () => {
    const objects = new Map<string, Buffer>();
    await using standIn = await bucketStandIn(objects);
    const bucket = s3InputBucket({ ...keys, endpoint: standIn.url, bucket: 'b', region: 'eu-central-1' });
    const content = await contentOfText('content');
    const sha256 = createHash('sha256').update('content').digest('hex');
    const addresses = [1, 2].map(() => bucket.put(content.sha256, content, 'image/png', signal));
    await addresses[0];
    const address = await bucket.put(content.sha256, content, 'image/png', signal);
    await Promise.all(addresses);
    expect([...objects.keys()]).toEqual([`/b/inputs/${sha256}`]);
    expect(standIn.received.at(-1)?.method).toBe('HEAD');
    expect(new URL(address).searchParams.get('X-Amz-Expires')).toBe('86400');
    expect(await (await fetch(address)).text()).toBe('content');
    expect(address).not.toContain(keys.secretAccessKey);
  });

  it('with wrong keys says so', async () => {
    await using standIn = await bucketStandIn(new Map());
    const bucket = s3InputBucket({
      ...{ ...keys, secretAccessKey: 'wrong' },
      endpoint: standIn.url,
      bucket: 'b',
      region: 'eu-central-1',
    });
    const content = await contentOfText('content');
    await expect(bucket.put(content.sha256, content, 'image/png', signal)).rejects.toMatchObject({
      code: 'backend_error',
      message: expect.stringContaining('SignatureDoesNotMatch') as string,
      retryable: false,
    });
  });

  it('signs as the published example of Amazon S3 does', async () => {
    const client = new AwsClient({ ...keys, region: 'us-east-1', service: 's3' });
    const url = new URL('https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Expires=86400');
    const signed = await client.sign(url, { aws: { signQuery: true, datetime: '20130524T000000Z' } });
    expect(new URL(signed.url).searchParams.get('X-Amz-Signature')).toBe(
      'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
    );
  });
});
