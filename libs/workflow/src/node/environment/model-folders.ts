import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

import { parse } from 'yaml';

import { currentFolder } from '../../inventory/model-files.ts';
import { isObject } from '../../json-value.ts';
import { WorkflowError } from '../../workflow-error.ts';

/** A folder that ComfyUI looks for models in. */
export interface ModelFolder {
  /** Its name below models, as endpoint.json has it. */
  readonly directory: string;
  readonly place: string;
}

/**
 * The folders of one kind of models, or of all: below the ComfyUI folder, under their earlier names too, and those of
 * extra_model_paths.yaml.
 *
 * @throws {WorkflowError} `invalid_environment` where extra_model_paths.yaml is no YAML.
 */
export function modelFolders(comfyui: string, directory: string | undefined): ModelFolder[] {
  const models = path.join(comfyui, 'models');
  const own = subfolders(models).map((name) => ({
    directory: currentFolder(name),
    place: path.join(models, name),
  }));
  const all = [...own, ...extraFolders(comfyui)];
  return directory === undefined ? all : all.filter((folder) => folder.directory === directory);
}

/** What extra_model_paths.yaml adds: sections with a `base_path` and, by kind of model, one or more lines of folders. */
function extraFolders(comfyui: string): ModelFolder[] {
  const file = path.join(comfyui, 'extra_model_paths.yaml');
  if (!existsSync(file)) return [];
  let content: unknown;
  try {
    content = parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new WorkflowError('invalid_environment', `${file} is no YAML.`, { cause });
  }
  return Object.values(isObject(content) ? content : {}).flatMap((section) => {
    if (!isObject(section)) return [];
    const base = typeof section['base_path'] === 'string' ? section['base_path'] : '.';
    return Object.entries(section).flatMap(([directory, value]) => {
      if (typeof value !== 'string' || directory === 'base_path') return [];
      const places = value.split('\n').map((line) => line.trim());
      return places
        .filter((line) => line !== '')
        .map((line) => ({ directory: currentFolder(directory), place: path.resolve(comfyui, base, line) }));
    });
  });
}

function subfolders(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) =>
    statSync(path.join(folder, name), { throwIfNoEntry: false })?.isDirectory(),
  );
}
