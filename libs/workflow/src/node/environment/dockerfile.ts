import type { Findings } from './findings.ts';
import { InstallSteps } from './install-steps.ts';
import { expand } from './shell-commands.ts';
import { readSource } from './source-file.ts';

/** An instruction of a Dockerfile with the text after it. */
interface Instruction {
  readonly name: string;
  readonly text: string;
}

/**
 * Reads a Dockerfile like those of worker-comfyui: what its RUN, ADD and COPY lines install. All stages count. ARG and
 * ENV give variables their values.
 *
 * @throws {WorkflowError} `invalid_environment` where it cannot be read.
 */
export function readDockerfile(file: string): Findings {
  const steps = new InstallSteps();
  const variables = new Map<string, string>();
  for (const { name, text } of instructions(readSource(file))) {
    switch (name) {
      case 'FROM':
        readBase(steps, expand(text, variables));
        break;
      case 'ARG':
      case 'ENV':
        for (const [key, value] of assignments(text)) variables.set(key, expand(value, variables));
        if (name === 'ARG' && /^COMFYUI_VERSION=/.test(text))
          readVersion(steps, variables.get('COMFYUI_VERSION'));
        break;
      case 'WORKDIR':
        steps.changeFolder(expand(text, variables));
        break;
      case 'RUN':
        steps.run(shellText(text), variables);
        break;
      case 'ADD':
      case 'COPY':
        readCopy(steps, expand(text, variables));
        break;
      default:
    }
  }
  return steps.findings('dockerfile');
}

/** Lines put together: continued ones, and here-documents (`RUN <<EOF`). Comments go. */
function instructions(source: string): Instruction[] {
  const found: Instruction[] = [];
  const lines = source.replace(/\r\n/g, '\n').split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    let line = lines[at] ?? '';
    if (/^\s*(?:#|$)/.test(line)) continue;
    while (line.endsWith('\\') && at + 1 < lines.length) {
      at += 1;
      const next = lines[at] ?? '';
      line = /^\s*#/.test(next) ? line : `${line.slice(0, -1)} ${next.trim()}`;
    }
    const match = /^\s*([A-Za-z]+)\s+(.*)$/s.exec(line);
    if (match === null) continue;
    let text = match[2] ?? '';
    const ends = /^(?:--\S+\s+)*<<-?["']?(\w+)["']?/.exec(text)?.[1];
    if (ends !== undefined) {
      const body: string[] = [];
      for (at += 1; at < lines.length && lines[at]?.trim() !== ends; at += 1) body.push(lines[at] ?? '');
      text = body.join('\n');
    }
    found.push({ name: (match[1] ?? '').toUpperCase(), text });
  }
  return found;
}

/** `A=1 B="two words"`; the old `ENV A value`. */
function assignments(text: string): [string, string][] {
  const found = [...text.matchAll(/(\w+)=(?:"([^"]*)"|'([^']*)'|(\S*))/g)];
  if (found.length === 0) {
    const [, name, value] = /^(\w+)(?:\s+(.*))?$/.exec(text) ?? [];
    return name === undefined ? [] : [[name, value ?? '']];
  }
  return found.map(([, name = '', double, single, plain]) => [name, double ?? single ?? plain ?? '']);
}

/** What RUN runs: a list in JSON, or a line with options before it (`--mount=…`). */
function shellText(text: string): string {
  if (text.trimStart().startsWith('[')) {
    try {
      const words: unknown = JSON.parse(text);
      if (Array.isArray(words)) {
        const isShell = words[1] === '-c';
        return isShell ? String(words[2] ?? '') : words.map((word) => JSON.stringify(word)).join(' ');
      }
    } catch {
      // A shell line that begins with a test: [ -f x ] && …
    }
  }
  return text.replace(/^(?:--\S+\s+)+/, '');
}

/** Models that the images of worker-comfyui bring, by the word in their tag. */
const IMAGE_WITH_MODELS =
  /(?:^|\/)worker-comfyui:\S*-(sdxl|sd3|flux1-schnell|flux1-dev(?:-fp8)?|z-image-turbo)\b/;

function readBase(steps: InstallSteps, text: string): void {
  const model = IMAGE_WITH_MODELS.exec(text)?.[1];
  if (model === undefined) return;
  steps.addOther({
    part: 'model',
    name: model,
    code: 'no_public_source',
    problem: `The image ${text.split(/\s/)[0] ?? ''} has the models of ${model} in it, and does not say from where.`,
    action: 'Add them to models with their public addresses.',
    known: {},
  });
}

function readVersion(steps: InstallSteps, version: string | undefined): void {
  if (version !== undefined && version !== '') steps.setVersion(version);
}

function readCopy(steps: InstallSteps, text: string): void {
  const isFromStage = /--from=/.test(text);
  const words = (text.trimStart().startsWith('[') ? listOf(text) : text.split(/\s+/)).filter(
    (word) => word !== '' && !word.startsWith('--'),
  );
  const target = words.at(-1);
  if (target === undefined || isFromStage) return;
  for (const source of words.slice(0, -1)) {
    if (/^https?:/.test(source)) {
      const isFolder = target.endsWith('/');
      steps.run(
        `wget ${isFolder ? '-P' : '-O'} '${target.replaceAll("'", '')}' '${source.replaceAll("'", '')}'`,
      );
    } else steps.copy(source, target);
  }
}

function listOf(text: string): string[] {
  try {
    const words: unknown = JSON.parse(text);
    return Array.isArray(words) ? words.filter((word) => typeof word === 'string') : [];
  } catch {
    return [];
  }
}
