import { AwsClient } from 'aws4fetch';

import { ComfyUIServiceError } from './errors.ts';
import type { FileContent } from './file-content.ts';
import { createHttpClient, excerpt, type HttpClient, readText } from './http.ts';

/** Where input files go that a backend does not take in a request. */
export interface InputBucket {
  /**
   * Stores a file under its hash, once however often it is given, and returns an address from which the backend's
   * worker can fetch it without credentials.
   */
  put(sha256: string, content: FileContent, contentType: string, signal: AbortSignal): Promise<string>;
}

/** Options of {@link s3InputBucket}. */
export interface S3InputBucketOptions {
  /** Address of the S3 API, such as https://s3.eu-central-1.amazonaws.com or that of R2 or MinIO. */
  readonly endpoint: string;
  readonly bucket: string;
  /** `auto` for R2. */
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Folder in the bucket; `inputs/` without it. Give it a life-cycle rule: nothing is deleted from here. */
  readonly prefix?: string;
  /** Seconds that the worker has to fetch a file, a wait in the queue included: 60 to 604,800, default 86,400. */
  readonly expiresInSeconds?: number;
  readonly http?: HttpClient;
}

/** An S3-compatible bucket: files are PUT and handed on by presigned addresses (Signature Version 4 in the query). */
export function s3InputBucket(options: S3InputBucketOptions): InputBucket {
  const { accessKeyId, secretAccessKey, region, prefix = 'inputs/', expiresInSeconds = 86_400 } = options;
  const client = new AwsClient({ accessKeyId, secretAccessKey, region, service: 's3' });
  const http = options.http ?? createHttpClient();

  async function presigned(method: 'PUT' | 'GET' | 'HEAD', key: string): Promise<URL> {
    const url = new URL(`${options.endpoint.replace(/\/$/, '')}/${options.bucket}/${key}`);
    url.searchParams.set('X-Amz-Expires', String(expiresInSeconds));
    return new URL((await client.sign(url, { method, aws: { signQuery: true } })).url);
  }

  return {
    async put(sha256, content, contentType, signal) {
      const key = `${prefix}${sha256}`;
      const known = await http.send({ method: 'HEAD', url: await presigned('HEAD', key), signal });
      await known.body.dump();
      if (known.statusCode !== 200 || Number(known.headers['content-length']) !== content.size) {
        const response = await http.send({
          method: 'PUT',
          url: await presigned('PUT', key),
          headers: { 'content-type': contentType, 'content-length': String(content.size) },
          body: content.stream(signal),
          signal,
        });
        const said = await readText(response, 1 << 16).catch(() => '');
        if (response.statusCode !== 200) throw refused(response.statusCode, said);
      }
      return (await presigned('GET', key)).href;
    },
  };
}

function refused(statusCode: number, said: string): ComfyUIServiceError {
  return new ComfyUIServiceError(
    'backend_error',
    `The input bucket refused a file (status ${statusCode}): ${excerpt(said)}`,
    { retryable: statusCode >= 500 || statusCode === 429, accepted: 'no' },
  );
}
