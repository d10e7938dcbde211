import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';

import {
  type ObjectInfo,
  parseObjectInfo,
  printWorkflow,
  toApiWorkflow,
  validateWorkflow,
  WorkflowError,
} from '@ryla/workflow';
import { coreObjectInfo } from '@ryla/workflow/node';
import type { Command } from 'commander';

import { EXIT } from '../exit-codes.ts';
import { createOutput, errorDocument, table } from '../output.ts';
import { sarif, type WorkflowFinding } from '../sarif.ts';
import { inspectWorkflow } from '../workflow-inspection.ts';

interface WorkflowOptions {
  readonly objectInfo?: string;
  readonly json?: boolean;
}

/** Adds `ryla workflows …`: commands about files, which reach no cloud. */
export function addWorkflowCommands(program: Command): void {
  const workflows = program.command('workflows').description('workflow files: convert, inspect, lint');

  withCatalogue(workflows.command('convert <files...>'))
    .description(
      'from the form that ComfyUI saves to API format: on stdout for one file, <name>.api.json for many',
    )
    .option('-o, --out-dir <folder>', 'write <name>.api.json there')
    .action(async (files: readonly string[], options: WorkflowOptions & { readonly outDir?: string }) => {
      const catalogue = catalogueOf(options);
      const [only] = files;
      if (files.length === 1 && only !== undefined && options.outDir === undefined) {
        process.stdout.write(printWorkflow(toApiWorkflow(readJson(only), catalogue)));
        return;
      }
      const output = createOutput(options.json === true);
      const results: { readonly file: string; readonly written?: string; readonly error?: unknown }[] = [];
      for (const file of files) {
        try {
          const text = printWorkflow(toApiWorkflow(readJson(file), catalogue));
          const folder = options.outDir ?? path.dirname(file);
          const written = path.join(folder, `${path.basename(file, '.json')}.api.json`);
          await mkdir(folder, { recursive: true });
          await writeFile(written, text);
          results.push({ file, written });
        } catch (error) {
          if (!WorkflowError.isInstance(error)) throw error;
          results.push({ file, error: errorDocument(error) });
          output.note(`${file}: ${error.message}`);
          process.exitCode = EXIT.failed;
        }
      }
      const converted = results.filter(({ written }) => written !== undefined);
      output.result(results, `${converted.length} of ${files.length} converted`);
    });

  withCatalogue(workflows.command('inspect <file>'))
    .description('what a workflow is made of')
    .option('--json', 'one JSON document on stdout and nothing else')
    .action(async (file: string, options: WorkflowOptions) => {
      const output = createOutput(options.json === true);
      const found = await inspectWorkflow(readJson(file), catalogueOf(options));
      const document = { file, ...found };
      const rows = document.outputs.map(({ node, class: name, title }) => [node, name, title]);
      const text = [
        `${file}: ${document.format === 'ui' ? 'as ComfyUI saves it' : 'API format'}, ${document.nodes} nodes, hash ${document.hash.slice(0, 16)}`,
        '',
        table(['output', 'class', 'title'], rows),
        '',
        table(
          ['class', 'nodes'],
          Object.entries(document.classes).map(([name, count]) => [name, String(count)]),
        ),
        ...(found.models.length === 0
          ? ['', 'No model files.']
          : [
              '',
              table(
                ['model', 'node', 'input'],
                found.models.map(({ file: model, node, class: name, input }) => [
                  model,
                  `${node} (${name})`,
                  input,
                ]),
              ),
            ]),
        ...(found.unknownClasses.length === 0
          ? []
          : ['', `Not ComfyUI's own: ${found.unknownClasses.join(', ')}`]),
        ...(found.deadNodes.length === 0 ? [] : ['', `Never run: nodes ${found.deadNodes.join(', ')}`]),
      ].join('\n');
      output.result(document, text);
    });

  withCatalogue(workflows.command('lint <files...>'))
    .description('problems of workflows in words; exit code 1 when there are any')
    .option('--json', 'one JSON document on stdout and nothing else')
    .option('--sarif', 'a SARIF document on stdout, for code review')
    .action((files: readonly string[], options: WorkflowOptions & { readonly sarif?: boolean }) => {
      const catalogue = catalogueOf(options);
      // The built-in catalogue knows no files; a server's own list does.
      const known = options.objectInfo === undefined ? 'unchecked' : 'listed';
      const findings = files.flatMap((file) => lint(file, catalogue, known));
      if (options.sarif === true) process.stdout.write(`${JSON.stringify(sarif(findings), null, 2)}\n`);
      else {
        const lines = findings.map(({ file, code, message }) => `${file}: ${message} [${code}]`);
        const text = findings.length === 0 ? `${files.length} workflows, no problem` : lines.join('\n');
        createOutput(options.json === true).result(findings, text);
      }
      if (findings.length > 0) process.exitCode = EXIT.failed;
    });
}

function withCatalogue(command: Command): Command {
  return command.option(
    '--object-info <file>',
    "what your server's /object_info answers, for custom nodes; without it ComfyUI's own nodes are known",
  );
}

function catalogueOf({ objectInfo }: WorkflowOptions): ObjectInfo {
  return objectInfo === undefined ? coreObjectInfo() : parseObjectInfo(readJson(objectInfo));
}

function lint(file: string, catalogue: ObjectInfo, files: 'listed' | 'unchecked'): WorkflowFinding[] {
  try {
    const workflow = toApiWorkflow(readJson(file), catalogue);
    return validateWorkflow(workflow, catalogue, { files }).map(({ code, message, nodeId }) => ({
      file,
      code,
      message,
      nodeId,
    }));
  } catch (error) {
    if (!WorkflowError.isInstance(error)) throw error;
    return [{ file, code: error.code, message: error.message, nodeId: error.nodeId }];
  }
}

function readJson(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new WorkflowError('invalid_workflow', `${file} cannot be read.`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : '';
    throw new WorkflowError('invalid_workflow', `${file} is not valid JSON: ${why}`, { cause });
  }
}
