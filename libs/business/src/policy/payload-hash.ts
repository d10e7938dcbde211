import { hash } from 'node:crypto';

import { ComfyUIServiceError } from '../errors.ts';

/** A file of a job, by its content or its address. */
export interface HashedFile {
  /** The name by which the workflow refers to it. */
  readonly name: string;
  /** SHA-256 of the content, hexadecimal, or the URL that the backend fetches. */
  readonly content: string;
}

/** All that decides what a job makes. */
export interface JobPayload {
  readonly workflow: unknown;
  readonly files?: readonly HashedFile[];
  readonly inputs?: unknown;
}

/** Goes into every hash, so that a later form of it cannot be taken for this one. */
const FORM = 'ryla-payload-1';

/**
 * SHA-256 (hexadecimal) of a job's payload; equal for equal JSON, however its keys are ordered, and for files in any
 * order. The form that is hashed is that of RFC 8785 (JSON Canonicalization Scheme).
 *
 * @throws {ComfyUIServiceError} `invalid_input` for values that JSON does not have.
 */
export function payloadHash({ workflow, files = [], inputs = null }: JobPayload): string {
  const sorted = files
    .map(({ name, content }) => ({ name, content }))
    .sort((a, b) => compare(a.name, b.name) || compare(a.content, b.content));
  const text = canonicalJson({ form: FORM, workflow, files: sorted, inputs });
  return hash('sha256', text);
}

/** JSON with sorted keys and nothing between its parts, as RFC 8785 has it. Keys without a value are left out. */
export function canonicalJson(value: unknown): string {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return JSON.stringify(value);
    case 'number':
      if (Number.isFinite(value)) return JSON.stringify(value);
      break;
    case 'object':
      if (value === null) return 'null';
      if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
      if (isPlain(value)) return members(value);
      break;
    default:
  }
  throw new ComfyUIServiceError('invalid_input', `A ${describe(value)} has no form in JSON.`, {
    accepted: 'no',
  });
}

function members(value: Readonly<Record<string, unknown>>): string {
  let text = '';
  // Sorted by UTF-16 code units, as RFC 8785 asks.
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member !== undefined)
      text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(member)}`;
  }
  return `{${text}}`;
}

function isPlain(value: object): value is Readonly<Record<string, unknown>> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function describe(value: unknown): string {
  return typeof value === 'object' ? (value?.constructor.name ?? 'null') : typeof value;
}

/** By UTF-16 code units. */
function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
