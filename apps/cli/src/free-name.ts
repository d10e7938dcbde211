import { existsSync } from 'node:fs';
import path from 'node:path';

/** The name in that folder, or the next one that is free: a picture that was paid for is never written over. */
export function freeName(folder: string, name: string): string {
  const { name: stem, ext } = path.parse(name);
  for (let copy = 1; ; copy += 1) {
    const file = path.join(folder, copy === 1 ? name : `${stem}-${copy}${ext}`);
    if (!existsSync(file)) return file;
  }
}
