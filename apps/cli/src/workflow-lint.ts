import {
  type ApiWorkflow,
  deadNodes,
  findClass,
  isUiWorkflow,
  type ObjectInfo,
  outputNodes,
  toApiWorkflow,
  validateWorkflow,
  WorkflowError,
} from '@ryla/workflow';

import type { WorkflowFinding } from './sarif.ts';
import { type Catalogue, readWorkflowFile } from './workflow-files.ts';

/** The problems of a workflow's file; what cannot be read is one too. */
export async function lintFile(file: string, catalogue: Catalogue): Promise<WorkflowFinding[]> {
  try {
    const { file: name, text, value } = await readWorkflowFile(file);
    return lintWorkflow(name, text, value, catalogue);
  } catch (error) {
    if (!WorkflowError.isInstance(error)) throw error;
    return [
      {
        file,
        level: 'error',
        code: error.code,
        message: error.message,
        nodeId: error.nodeId,
        line: undefined,
      },
    ];
  }
}

function lintWorkflow(
  file: string,
  text: string,
  value: unknown,
  { classes, server }: Catalogue,
): WorkflowFinding[] {
  const isUi = isUiWorkflow(value);
  const at = (
    level: WorkflowFinding['level'],
    code: string,
    message: string,
    nodeId: string | undefined,
  ): WorkflowFinding => ({
    file,
    level,
    code,
    message,
    nodeId,
    line: nodeId === undefined ? undefined : lineOfNode(text, nodeId, isUi),
  });
  try {
    const workflow = toApiWorkflow(value, classes);
    // The built-in catalogue knows no files; a server's own list does.
    const files = server === undefined ? 'unchecked' : 'listed';
    return [
      ...validateWorkflow(workflow, classes, { files }).map(({ code, message, nodeId }) =>
        at('error', code, message, nodeId),
      ),
      ...neverRun(workflow, classes).map((id) => {
        const name = workflow[id]?.class_type ?? '';
        const message = `Node ${id} (${name}): no output depends on it, so it never runs.`;
        return at('warning', 'dead_node', message, id);
      }),
      ...Object.entries(workflow).flatMap(([id, { class_type: name }]) =>
        findClass(classes, name)?.api_node === true
          ? [
              at(
                'warning',
                'partner_node',
                `Node ${id} (${name}): it spends money elsewhere, on an account with a partner of ComfyUI.`,
                id,
              ),
            ]
          : [],
      ),
    ];
  } catch (error) {
    if (!WorkflowError.isInstance(error)) throw error;
    return [at('error', error.code, error.message, error.nodeId)];
  }
}

/** Dead nodes, where that says more than an error does already. */
function neverRun(workflow: ApiWorkflow, classes: ObjectInfo): string[] {
  if (outputNodes(workflow, classes).length === 0) return [];
  return deadNodes(workflow, classes).filter(
    (id) => findClass(classes, workflow[id]?.class_type ?? '') !== undefined,
  );
}

/** The line, from 1, where a node begins in a file; undefined where that cannot be seen. */
export function lineOfNode(text: string, nodeId: string, isUi: boolean): number | undefined {
  // A node of a subgraph has the ids of those around it in front.
  const own = nodeId.split(':').at(-1) ?? nodeId;
  const pattern = isUi
    ? new RegExp(`"id"\\s*:\\s*(?:${literal(own)}|"${literal(own)}")\\s*[,}]`)
    : new RegExp(`"${literal(nodeId)}"\\s*:\\s*\\{`);
  const start = isUi && own !== nodeId ? Math.max(0, text.indexOf('"definitions"')) : 0;
  const found = pattern.exec(text.slice(start));
  return found === null ? undefined : text.slice(0, start + found.index).split('\n').length;
}

function literal(text: string): string {
  return text.replaceAll(/\W/g, '\\$&');
}

/** Findings for people, by file. */
export function findingsText(findings: readonly WorkflowFinding[], files: number): string {
  const count = counted(files, 'workflow');
  if (findings.length === 0) return `${count}, no problem`;
  const lines = findings.map(({ file, line, level, code, message }) => {
    const place = line === undefined ? file : `${file}:${line}`;
    return `${place}: ${level === 'warning' ? 'warning: ' : ''}${message} [${code}]`;
  });
  const errors = findings.filter(({ level }) => level === 'error').length;
  return [
    ...lines,
    '',
    `${count}: ${counted(errors, 'error')}, ${counted(findings.length - errors, 'warning')}`,
  ].join('\n');
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
