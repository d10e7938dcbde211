/** Writes the built-in catalogue: `write-catalogue.ts <object_info.json> <version of ComfyUI>`. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

import { parseObjectInfo } from './object-info.ts';

const [source, version] = process.argv.slice(2);
if (source === undefined || version === undefined)
  throw new Error('Give the file of an object_info and the version of ComfyUI that it is from.');

const text = Buffer.from(JSON.stringify(parseObjectInfo(JSON.parse(readFileSync(source, 'utf8')))));
const file = path.join(import.meta.dirname, `../catalogue/object_info.core-${version}.json.br`);
const params = {
  [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
  [constants.BROTLI_PARAM_SIZE_HINT]: text.length,
};
writeFileSync(file, brotliCompressSync(text, { params }));
