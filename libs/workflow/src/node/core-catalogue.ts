import { readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';

import { type ObjectInfo, parseObjectInfo } from '../object-info.ts';

/** Version of ComfyUI whose core classes {@link coreObjectInfo} holds. */
export const CORE_VERSION = '0.3.64';

/** Version of the page that ComfyUI 0.3.64 comes with (its requirements.txt). */
export const CORE_FRONTEND_VERSION = '1.27.10';

let core: ObjectInfo | undefined;

/**
 * The object_info of ComfyUI 0.3.64 without custom nodes: 496 classes, without descriptions and without model files,
 * so that lists of models are empty. Read once (some 10 ms) and shared: do not change it.
 */
export function coreObjectInfo(): ObjectInfo {
  // Beside src in the workspace, beside dist in the package.
  const file = new URL(`../../catalogue/object_info.core-${CORE_VERSION}.json.br`, import.meta.url);
  core ??= parseObjectInfo(JSON.parse(brotliDecompressSync(readFileSync(file)).toString('utf8')));
  return core;
}
