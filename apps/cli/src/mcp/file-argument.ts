import { realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { type FileInput, WorkflowError } from '@ryla/workflow';

import type { FileInputType } from './endpoint-tool.ts';

/** What agents may have read from this machine. */
export interface FileAccess {
  /** Folder that relative paths begin at. */
  readonly root: string;
  /** Folders whose media files may be given to an endpoint. */
  readonly folders: readonly string[];
}

/** Largest content of a data: URI in bytes; larger files are given by path or address. */
export const MAXIMUM_DATA_BYTES = 20 * 1024 * 1024;

const PICTURES = ['png', 'jpg', 'jpeg', 'webp', 'gif', 'bmp', 'tif', 'tiff', 'avif'];

/** Extensions that a file input takes: an agent cannot have any other file sent, such as one with keys. */
const EXTENSIONS: Readonly<Record<FileInputType, readonly string[]>> = {
  image: PICTURES,
  mask: PICTURES,
  video: ['mp4', 'webm', 'mov', 'mkv', 'avi', 'gif'],
  audio: ['wav', 'mp3', 'flac', 'ogg', 'opus', 'm4a'],
};

/** Extensions for the subtypes of data: URIs that are not extensions themselves. */
const SUBTYPES: Readonly<Record<string, string>> = {
  'svg+xml': 'svg',
  quicktime: 'mov',
  'x-matroska': 'mkv',
  mpeg: 'mp3',
  'x-wav': 'wav',
  wave: 'wav',
  'x-flac': 'flac',
};

/**
 * The file that an agent names: a path, an https address, or a data: URI.
 *
 * @throws {WorkflowError} `invalid_input`.
 */
export async function fileArgument(
  input: string,
  type: FileInputType,
  text: string,
  access: FileAccess,
): Promise<FileInput> {
  const refuse = (why: string, cause?: unknown): WorkflowError =>
    new WorkflowError('invalid_input', `Input "${input}": ${why}`, { input, cause });
  if (/^data:/i.test(text)) return dataFile(type, text, refuse);
  if (/^https:\/\//i.test(text)) return { url: text };
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(text) && !/^file:/i.test(text))
    throw refuse('an address must begin with https://.');
  return { path: await readablePath(type, text, access, refuse) };
}

type Refuse = (why: string, cause?: unknown) => WorkflowError;

async function readablePath(
  type: FileInputType,
  text: string,
  { root, folders }: FileAccess,
  refuse: Refuse,
): Promise<string> {
  const wanted = path.resolve(root, /^file:/i.test(text) ? fileOf(text, refuse) : text);
  const extension = path.extname(wanted).slice(1).toLowerCase();
  if (!EXTENSIONS[type].includes(extension))
    throw refuse(
      `"${text}" is no ${type} file; one ends in ${EXTENSIONS[type].map((one) => `.${one}`).join(', ')}.`,
    );
  const outside = `"${text}" is not in a folder that may be read (${folders.join(', ')}). Move it there, or start ryla mcp with --files <folder>.`;
  // Before the file is looked for: what is elsewhere on this machine is nobody's business.
  if (!folders.some((folder) => isWithin(folder, wanted))) throw refuse(outside);
  let real: string;
  try {
    real = await realpath(wanted);
    if (!(await stat(real)).isFile()) throw new Error('not a file');
  } catch (cause) {
    throw refuse(`there is no file "${text}".`, cause);
  }
  const realFolders = await Promise.all(folders.map((folder) => realpath(folder).catch(() => folder)));
  // A link must not lead out of the folder, nor to another kind of file.
  if (
    !realFolders.some((folder) => isWithin(folder, real)) ||
    path.extname(real).slice(1).toLowerCase() !== extension
  )
    throw refuse(outside);
  return real;
}

function fileOf(text: string, refuse: Refuse): string {
  try {
    return fileURLToPath(text);
  } catch (cause) {
    throw refuse(`"${text}" is no file of this machine.`, cause);
  }
}

function isWithin(folder: string, file: string): boolean {
  const relative = path.relative(folder, file);
  return (
    relative !== '' &&
    relative !== '..' &&
    !relative.startsWith(`..${path.sep}`) &&
    !path.isAbsolute(relative)
  );
}

function dataFile(type: FileInputType, text: string, refuse: Refuse): FileInput {
  const comma = text.indexOf(',');
  const head = /^data:([a-z]+)\/([a-z0-9.+-]+)(?:;[^,;]+)*;base64$/i.exec(text.slice(0, comma));
  if (comma < 0 || head === null) throw refuse(`a data: URI must be data:${type}/…;base64,… .`);
  const subtype = (head[2] ?? '').toLowerCase();
  const extension = SUBTYPES[subtype] ?? subtype;
  if (!EXTENSIONS[type].includes(extension))
    throw refuse(`data of the type ${head[1] ?? ''}/${subtype} is no ${type}.`);
  const content = text.slice(comma + 1);
  if (content.length * 0.75 > MAXIMUM_DATA_BYTES + 3)
    throw refuse(
      `a data: URI may hold ${MAXIMUM_DATA_BYTES} bytes at most; give a path or an https address.`,
    );
  const bytes = Buffer.from(content, 'base64');
  if (bytes.length === 0 || !/^[A-Za-z0-9+/_\s-]+=*\s*$/.test(content))
    throw refuse('its data: URI is not base64.');
  return { name: `data.${extension}`, bytes };
}
