/** What a node of ComfyUI reports as its output, in `executed` messages and in /history. */
import path from 'node:path';

import type { OutputKind } from '@ryla/workflow';
import { z } from 'zod';

import { contentTypeOf } from '../file-content.ts';

/** A file in ComfyUI's folders, or a text that is no file. */
export interface ReportedOutput {
  readonly nodeId: string;
  readonly name: string;
  readonly kind: OutputKind;
  readonly contentType: string;
  readonly content:
    | {
        readonly filename: string;
        readonly subfolder: string;
        readonly folder: string;
        /** Where a host of ComfyUI put it, where it says so. */
        readonly url?: string | undefined;
      }
    | { readonly text: string };
}

const file = z.object({
  filename: z.string(),
  subfolder: z.string().nullish(),
  type: z.string().nullish(),
  url: z.string().nullish(),
});

const KINDS_BY_CONTENT_TYPE: readonly (readonly [prefix: string, kind: OutputKind])[] = [
  ['image/', 'image'],
  ['video/', 'video'],
  ['audio/', 'audio'],
  ['text/', 'text'],
  ['application/json', 'text'],
];

/** Kinds by the key under which a node reports its files, where the name does not tell. */
const KINDS_BY_KEY: Readonly<Record<string, OutputKind>> = {
  images: 'image',
  gifs: 'video',
  video: 'video',
  videos: 'video',
  audio: 'audio',
  text: 'text',
  latents: 'latent',
};

/** The outputs in a node's report, previews (`temp`) left out: those are no results. Unknown shapes are passed over. */
export function reportedOutputs(nodeId: string, report: Readonly<Record<string, unknown>>): ReportedOutput[] {
  return Object.entries(report).flatMap(([key, values]) =>
    Array.isArray(values) ? values.flatMap((value, index) => outputOf(nodeId, key, value, index)) : [],
  );
}

function outputOf(nodeId: string, key: string, value: unknown, index: number): ReportedOutput[] {
  if (typeof value === 'string') {
    if (key !== 'text') return [];
    const name = `${nodeId.replaceAll(':', '-')}-${index}.txt`;
    return [
      { nodeId, name, kind: 'text', contentType: 'text/plain; charset=utf-8', content: { text: value } },
    ];
  }
  const parsed = file.safeParse(value);
  if (!parsed.success || parsed.data.type === 'temp') return [];
  const { filename, subfolder, type, url } = parsed.data;
  const content = { filename, subfolder: subfolder ?? '', folder: type ?? 'output', url: url ?? undefined };
  const contentType = contentTypeOf(filename);
  return [
    {
      nodeId,
      name: path.posix.basename(filename),
      kind: kindOf(key, filename, contentType),
      contentType,
      content,
    },
  ];
}

function kindOf(key: string, filename: string, contentType: string): OutputKind {
  if (filename.toLowerCase().endsWith('.latent')) return 'latent';
  const byType = KINDS_BY_CONTENT_TYPE.find(([prefix]) => contentType.startsWith(prefix));
  if (byType !== undefined) return byType[1];
  return contentType === 'application/octet-stream' ? (KINDS_BY_KEY[key] ?? 'file') : 'file';
}
