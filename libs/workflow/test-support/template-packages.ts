/** The workflow templates of Comfy-Org, as the development dependencies of pyproject.toml bring them. */
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');

/** Folders of the packages' templates below an environment's site-packages. */
const FOLDERS = {
  'comfyui-workflow-templates-json@0.1.123': 'comfyui_workflow_templates_json/templates',
  'comfyui-workflow-templates@0.1.95': 'comfyui_workflow_templates/templates',
} as const;

export type TemplatePackage = keyof typeof FOLDERS;

/** The template's content; `undefined` where its package is not installed. */
export function readTemplate(name: TemplatePackage, template: string): unknown {
  const folder = folderOf(name);
  const file = folder === undefined ? undefined : path.join(folder, template);
  return file !== undefined && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

/** Texts of all workflows of a package by file; its indexes are no workflows. */
export function templateTexts(name: TemplatePackage): Map<string, string> {
  const folder = folderOf(name);
  if (folder === undefined) throw new Error(`${name} is not in .venv: run npm test once, or uv sync.`);
  const texts = new Map<string, string>();
  for (const file of readdirSync(folder).sort()) {
    if (!file.endsWith('.json')) continue;
    const text = readFileSync(path.join(folder, file), 'utf8');
    if (/"nodes"\s*:\s*\[/.test(text)) texts.set(file, text);
  }
  return texts;
}

function folderOf(name: TemplatePackage): string | undefined {
  const [folder] = globSync(`.venv/lib/python3*/site-packages/${FOLDERS[name]}`, { cwd: workspaceRoot });
  return folder === undefined ? undefined : path.join(workspaceRoot, folder);
}
