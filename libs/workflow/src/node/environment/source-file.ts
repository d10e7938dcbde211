import { readFileSync } from 'node:fs';

import { parse } from 'yaml';

import { WorkflowError } from '../../workflow-error.ts';

/**
 * The text of a source.
 *
 * @throws {WorkflowError} `invalid_environment` where it cannot be read.
 */
export function readSource(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new WorkflowError('invalid_environment', `${file} cannot be read.`, { cause });
  }
}

/**
 * The content of a source in YAML or JSON, which YAML contains.
 *
 * @throws {WorkflowError} `invalid_environment` where it is neither.
 */
export function readYaml(file: string): unknown {
  const text = readSource(file);
  try {
    // Aliases are few in honest files: the limit keeps a small one from becoming a huge one.
    return file.endsWith('.json') ? JSON.parse(text) : parse(text, { maxAliasCount: 100 });
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : '';
    throw new WorkflowError('invalid_environment', `${file} cannot be read: ${reason}`, { cause });
  }
}
