/** What the first bytes of a file say that it is. */

const FORMATS: readonly (readonly [name: string, offset: number, magic: string])[] = [
  ['mp4', 4, 'ftyp'],
  ['matroska', 0, '\x1a\x45\xdf\xa3'],
  ['wav', 8, 'WAVE'],
  ['avi', 8, 'AVI '],
  ['flac', 0, 'fLaC'],
  ['ogg', 0, 'OggS'],
  ['mp3', 0, 'ID3'],
  ['mp3', 0, '\xff\xfb'],
  ['gif', 0, 'GIF8'],
  ['png', 0, '\x89PNG'],
  ['webp', 8, 'WEBP'],
  ['jpeg', 0, '\xff\xd8\xff'],
];

/** The container of a file by its signature (mp4 covers QuickTime, matroska covers WebM); undefined for others. */
export function containerOf(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.subarray(0, 16)).toString('latin1');
  return FORMATS.find(([, offset, magic]) => head.startsWith(magic, offset))?.[0];
}
