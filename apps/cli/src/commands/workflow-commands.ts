import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';

import {
  diffWorkflows,
  endpointInputs,
  type HighlightedInputs,
  inferInputs,
  parseEndpointConfig,
  printWorkflow,
  toApiWorkflow,
  WorkflowError,
  workflowPicture,
} from '@ryla/workflow';
import { loadNodeMap } from '@ryla/workflow/node';
import { type Command, Option } from 'commander';

import { EXIT, UsageError } from '../exit-codes.ts';
import { createOutput, errorDocument, type Output } from '../output.ts';
import { sarif, type WorkflowFinding } from '../sarif.ts';
import {
  type Catalogue,
  loadCatalogue,
  readsStdinTwice,
  readWorkflowFile,
  STDIN,
} from '../workflow-files.ts';
import { inspectWorkflow } from '../workflow-inspection.ts';
import { findingsText, lintFile } from '../workflow-lint.ts';
import { inspectionText } from '../workflow-report.ts';

interface WorkflowOptions {
  readonly objectInfo?: string;
  readonly json?: boolean;
}

/** Adds `ryla workflows …`: commands about files, which reach no cloud. */
export function addWorkflowCommands(program: Command, version: string): void {
  const workflows = program
    .command('workflows')
    .description(
      "workflow files, as ComfyUI's page saves them or in API format: convert, inspect, lint, picture, diff",
    )
    .addHelpText('after', '\nA file may be - for stdin. None of these reaches a cloud or needs ComfyUI.');
  addConvert(workflows);
  addInspect(workflows);
  addLint(workflows, version);
  addPicture(workflows);
  addDiff(workflows);
}

function addConvert(workflows: Command): void {
  withCatalogue(workflows.command('convert <files...>'))
    .description(
      'from the form that ComfyUI saves to API format: on stdout for one file, <name>.api.json for many',
    )
    .option('-d, --out-dir <folder>', 'write <name>.api.json there')
    .addHelpText(
      'after',
      `
Examples:
  ryla workflows convert workflow.json > workflow.api.json
  ryla workflows convert *.json --out-dir converted
  ryla workflows convert mine.json --object-info http://127.0.0.1:8188    with my server's custom nodes`,
    )
    .action(async (files: readonly string[], options: WorkflowOptions & { readonly outDir?: string }) => {
      const { classes } = await catalogueFor(files, options);
      const apiFormat = async (file: string): Promise<string> => {
        const { value } = await readWorkflowFile(file);
        return printWorkflow(toApiWorkflow(value, classes));
      };
      const [only] = files;
      if (files.length === 1 && only !== undefined && options.outDir === undefined) {
        process.stdout.write(await apiFormat(only));
        return;
      }
      await writeAll(files, options, 'converted', '.api.json', apiFormat);
    });
}

function addInspect(workflows: Command): void {
  withCatalogue(workflows.command('inspect <files...>'))
    .description(
      'what a workflow takes, makes and needs: inputs and why, models and their sources, custom nodes, GPU, determinism',
    )
    .option(
      '--node-map <file>',
      "ComfyUI-Manager's extension-node-map.json; otherwise that of comfyui-manager in a .venv here or above",
    )
    .option('--json', 'one JSON document on stdout and nothing else; a list of them for several files')
    .addHelpText(
      'after',
      `
Examples:
  ryla workflows inspect workflow.json
  ryla workflows inspect workflow.json --json | jq '.models[].url'
  curl -s https://example.com/workflow.json | ryla workflows inspect -

Nothing is guessed: a custom node whose origin is not certain is said to be so. The GPU is an estimate, with its rule.`,
    )
    .action(async (files: readonly string[], options: WorkflowOptions & { readonly nodeMap?: string }) => {
      const output = createOutput(options.json === true);
      const catalogue = await catalogueFor(files, options);
      const nodeMap = loadNodeMap(options.nodeMap === undefined ? {} : { file: options.nodeMap });
      const documents: object[] = [];
      const texts: string[] = [];
      await forEach(files, output, files.length === 1, async (name) => {
        const { file, value } = await readWorkflowFile(name);
        const found = await inspectWorkflow(value, catalogue, nodeMap?.map);
        documents.push({ file, ...found });
        texts.push(inspectionText(file, found));
      });
      if (documents.length > 0)
        output.result(files.length === 1 ? documents[0] : documents, texts.join('\n\n\n'));
    });
}

type LintFormat = 'text' | 'json' | 'sarif';

function addLint(workflows: Command, version: string): void {
  withCatalogue(workflows.command('lint <files...>'))
    .description('problems of workflows in words, with their nodes; exit code 1 when there are errors')
    .addOption(
      new Option('-f, --format <format>', 'how they are shown')
        .choices(['text', 'json', 'sarif'])
        .default('text'),
    )
    .option('--json', 'the same as --format json')
    .option('--sarif', 'the same as --format sarif, for code review')
    .option('--strict', 'exit code 1 for warnings too')
    .addHelpText(
      'after',
      `
Examples:
  ryla workflows lint workflows/*.json
  ryla workflows lint workflow.json --object-info http://127.0.0.1:8188    as my server would judge it, files of models too
  ryla workflows lint workflows/*.json --format sarif > workflows.sarif    for GitHub's code scanning

Errors are what ComfyUI would refuse; warnings are nodes that never run, and nodes that spend money elsewhere.`,
    )
    .action(
      async (
        files: readonly string[],
        options: WorkflowOptions & {
          readonly format: LintFormat;
          readonly sarif?: boolean;
          readonly strict?: boolean;
        },
      ) => {
        const format = options.sarif === true ? 'sarif' : options.json === true ? 'json' : options.format;
        const catalogue = await catalogueFor(files, options);
        const findings: WorkflowFinding[] = [];
        for (const file of files) findings.push(...(await lintFile(file, catalogue)));
        if (format === 'sarif')
          process.stdout.write(`${JSON.stringify(sarif(findings, process.cwd(), version), null, 2)}\n`);
        else createOutput(format === 'json').result(findings, findingsText(findings, files.length));
        if (findings.some(({ level }) => level === 'error' || options.strict === true))
          process.exitCode = EXIT.failed;
      },
    );
}

interface PictureCommandOptions extends WorkflowOptions {
  readonly out?: string;
  readonly outDir?: string;
  readonly title?: string;
  readonly endpoint?: string;
  readonly highlight: boolean;
}

function addPicture(workflows: Command): void {
  withCatalogue(workflows.command('picture <files...>'))
    .description('an SVG of the graph, its inputs highlighted: on stdout for one file, <name>.svg for many')
    .option('-o, --out <file>', 'write it there')
    .option('-d, --out-dir <folder>', 'write <name>.svg there')
    .option('--title <text>', 'what it is called, for those who cannot see it')
    .option(
      '--endpoint <file>',
      'an endpoint.json, whose inputs are highlighted; otherwise those that inspect finds',
    )
    .option('--no-highlight', 'highlight nothing')
    .addHelpText(
      'after',
      `
Examples:
  ryla workflows picture workflow.json -o workflow.svg
  ryla workflows picture apps/endpoints/photo-finish/workflow.json --endpoint apps/endpoints/photo-finish/endpoint.json -o graph.svg
  ryla workflows picture *.json --out-dir pictures`,
    )
    .action(async (files: readonly string[], options: PictureCommandOptions) => {
      const catalogue = await catalogueFor(files, options);
      if (options.out !== undefined && (files.length > 1 || options.outDir !== undefined))
        throw new UsageError('--out is for one file; for several give --out-dir.');
      const svg = (file: string): Promise<string> => pictureOf(file, catalogue, options);
      const [only] = files;
      if (files.length > 1 || options.outDir !== undefined || only === undefined) {
        await writeAll(files, options, 'drawn', '.svg', svg);
        return;
      }
      const text = await svg(only);
      if (options.out === undefined) process.stdout.write(text);
      else {
        await mkdir(path.dirname(options.out), { recursive: true });
        await writeFile(options.out, text);
        createOutput(options.json === true).result({ file: only, written: options.out }, options.out);
      }
    });
}

async function pictureOf(
  name: string,
  { classes }: Catalogue,
  { title, endpoint, highlight }: PictureCommandOptions,
): Promise<string> {
  const { value } = await readWorkflowFile(name);
  const inputs = highlight ? await highlighted(value, classes, endpoint) : {};
  return workflowPicture(value, classes, { inputs, ...(title === undefined ? {} : { title }) });
}

async function highlighted(
  value: unknown,
  classes: Catalogue['classes'],
  endpoint: string | undefined,
): Promise<HighlightedInputs> {
  if (endpoint !== undefined) return parseEndpointConfig((await readWorkflowFile(endpoint)).value).inputs;
  try {
    return endpointInputs(inferInputs(toApiWorkflow(value, classes), classes));
  } catch (error) {
    // A graph can be drawn with classes that are not known; what its inputs are cannot be said.
    if (WorkflowError.isInstance(error) && error.code === 'unknown_class') return {};
    throw error;
  }
}

function addDiff(workflows: Command): void {
  withCatalogue(workflows.command('diff <earlier> <later>'))
    .description(
      'what changed from one workflow to another, in words; exit code 1 when something did, as diff has it',
    )
    .option('--json', 'one JSON document on stdout and nothing else')
    .addHelpText(
      'after',
      `
Examples:
  ryla workflows diff before.json after.json
  git show HEAD:workflow.json | ryla workflows diff - workflow.json

The two may be of different formats; where nodes stand on the page does not matter.`,
    )
    .action(async (earlier: string, later: string, options: WorkflowOptions) => {
      const { classes } = await catalogueFor([earlier, later], options);
      const workflow = async (file: string) => toApiWorkflow((await readWorkflowFile(file)).value, classes);
      const changes = diffWorkflows(await workflow(earlier), await workflow(later));
      const text = changes.map((change) => change.text).join('\n');
      createOutput(options.json === true).result(changes, text === '' ? 'They do the same.' : text);
      if (changes.length > 0) process.exitCode = EXIT.failed;
    });
}

function withCatalogue(command: Command): Command {
  return command.option(
    '--object-info <source>',
    "your server's address, or a file with what its /object_info answers, for custom nodes; without it ComfyUI's own nodes are known",
  );
}

function catalogueFor(files: readonly string[], { objectInfo }: WorkflowOptions): Promise<Catalogue> {
  if (readsStdinTwice(files)) throw new UsageError('Only one of the files can be - for stdin.');
  return loadCatalogue(objectInfo);
}

/** Does something with each file; one of several that is not valid is said to be so, and the others go on. */
async function forEach(
  files: readonly string[],
  output: Output,
  isOnly: boolean,
  work: (file: string) => Promise<void>,
): Promise<void> {
  for (const file of files) {
    try {
      await work(file);
    } catch (error) {
      if (!WorkflowError.isInstance(error) || isOnly) throw error;
      const { code, message } = errorDocument(error);
      output.note(
        output.json ? JSON.stringify({ file, error: errorDocument(error) }) : `${file}: ${message} [${code}]`,
      );
      process.exitCode = EXIT.failed;
    }
  }
}

/**
 * Writes what is made of each file beside it or in the given folder, and says how many there are.
 *
 * @throws {UsageError} where two of them would be written to the same file.
 */
async function writeAll(
  files: readonly string[],
  options: WorkflowOptions & { readonly outDir?: string },
  done: string,
  extension: string,
  make: (file: string) => Promise<string>,
): Promise<void> {
  const output = createOutput(options.json === true);
  const targets = new Map<string, string>();
  for (const file of files) {
    const name = file === STDIN ? 'stdin' : path.basename(file, '.json');
    const target = path.join(
      options.outDir ?? (file === STDIN ? '.' : path.dirname(file)),
      `${name}${extension}`,
    );
    const other = targets.get(target);
    if (other !== undefined) throw new UsageError(`${other} and ${file} would both be written to ${target}.`);
    targets.set(target, file);
  }
  const results: { readonly file: string; readonly written: string }[] = [];
  for (const [written, name] of targets) {
    await forEach([name], output, files.length === 1, async (file) => {
      const text = await make(file);
      await mkdir(path.dirname(written), { recursive: true });
      await writeFile(written, text);
      results.push({ file, written });
    });
  }
  output.result(results, `${results.length} of ${files.length} ${done}`);
}
