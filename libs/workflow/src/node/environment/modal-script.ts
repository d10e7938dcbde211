import { lastPart, type Findings } from './findings.ts';
import { InstallSteps } from './install-steps.ts';
import { isLiteral, type PythonToken, pythonTokens } from './python-tokens.ts';
import { readSource } from './source-file.ts';

/**
 * Reads a Modal script: the shell commands of `run_commands`, files fetched with `hf_hub_download`, files added from
 * beside it, and `gpu=`. Texts are taken as they are written; what the script computes is listed for a person.
 *
 * @throws {WorkflowError} `invalid_environment` where it cannot be read.
 */
export function readModalScript(file: string): Findings {
  const tokens = pythonTokens(readSource(file));
  const constants = constantsOf(tokens);
  const steps = new InstallSteps();
  steps.changeFolder('/root');
  for (const [at, token] of tokens.entries()) {
    const isCall = token.kind === 'name' && tokens[at + 1]?.text === '(';
    if (token.kind === 'name' && token.text === 'gpu' && tokens[at + 1]?.text === '=') {
      const value = tokens[at + 2];
      const text = value === undefined ? undefined : textOf(value, constants);
      if (text !== undefined && text !== '') steps.gpu ??= text;
    }
    if (!isCall) continue;
    const call = callAt(tokens, at + 1);
    if (token.text === 'run_commands') runCommands(steps, call.tokens, constants);
    else if (token.text === 'hf_hub_download')
      addDownload(steps, call.tokens, tokens.slice(call.end), constants);
    else if (/^(?:add|copy)_local_(?:dir|file)$/.test(token.text)) addCopy(steps, call.tokens, constants);
  }
  return steps.findings('modal');
}

/** Texts given to names at the top of the script: `VERSION = "0.3.47"`. */
function constantsOf(tokens: readonly PythonToken[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [at, token] of tokens.entries()) {
    const value = tokens[at + 2];
    if (token.kind !== 'name' || tokens[at + 1]?.text !== '=' || value === undefined || !isLiteral(value))
      continue;
    const text = textOf(value, found);
    if (text !== undefined && !found.has(token.text)) found.set(token.text, text);
  }
  return found;
}

/** The tokens between a call's brackets. */
function callAt(
  tokens: readonly PythonToken[],
  open: number,
): { readonly tokens: readonly PythonToken[]; readonly end: number } {
  let depth = 0;
  for (let at = open; at < tokens.length; at += 1) {
    const { text, kind } = tokens[at] ?? { text: '', kind: 'other' };
    if (kind === 'text') continue;
    if (/^[([{]$/.test(text)) depth += 1;
    else if (/^[)\]}]$/.test(text)) depth -= 1;
    if (depth === 0) return { tokens: tokens.slice(open + 1, at), end: at + 1 };
  }
  return { tokens: tokens.slice(open + 1), end: tokens.length };
}

/** A token's text, with `{NAME}` of an f-string replaced; what is not known stays as `${NAME}`. */
function textOf(token: PythonToken, constants: ReadonlyMap<string, string>): string | undefined {
  if (token.kind === 'name') return constants.get(token.text);
  if (token.kind !== 'text') return undefined;
  if (!token.isFormatted) return token.text;
  return token.text.replace(/\{\{|\}\}|\{([^{}]*)\}/g, (whole, name?: string) => {
    if (name === undefined) return whole.charAt(0);
    return constants.get(name.trim()) ?? `\${${name.trim().replace(/\W+/g, '_')}}`;
  });
}

function runCommands(
  steps: InstallSteps,
  tokens: readonly PythonToken[],
  constants: ReadonlyMap<string, string>,
): void {
  for (const [at, token] of tokens.entries()) {
    const isKeyword = tokens[at + 1]?.text === '=';
    const isValue = tokens[at - 1]?.text === '=';
    if (isKeyword || isValue) continue;
    const text = textOf(token, constants);
    if (text !== undefined) steps.run(text);
    else if (
      token.kind === 'name' &&
      tokens[at + 1]?.text !== '(' &&
      !/^(?:for|in|if|else|f|True|False|None)$/.test(token.text)
    ) {
      steps.addOther({
        part: 'node',
        name: token.text,
        code: 'computed',
        problem: `run_commands takes ${token.text}, which the script computes.`,
        action: 'Look what it runs, and add what it installs to customNodes and models.',
        known: {},
      });
    }
  }
}

function addDownload(
  steps: InstallSteps,
  tokens: readonly PythonToken[],
  after: readonly PythonToken[],
  constants: ReadonlyMap<string, string>,
): void {
  const given = keywords(tokens, constants);
  const repository = given.get('repo_id');
  const file = given.get('filename');
  if (repository === undefined || file === undefined || `${repository}${file}`.includes('${')) {
    steps.addOther({
      part: 'model',
      name: file ?? repository ?? 'hf_hub_download',
      code: 'computed',
      problem: 'hf_hub_download takes what the script computes.',
      action: 'Add each file that it fetches to models.',
      known: {},
    });
    return;
  }
  const folder = given.get('subfolder');
  const path = folder === undefined ? file : `${folder}/${file}`;
  const url = `https://huggingface.co/${repository}/resolve/${given.get('revision') ?? 'main'}/${path}`;
  const target = linkTarget(after, constants);
  steps.addModel({
    filename: target?.filename ?? lastPart(path),
    directory: target?.directory ?? modelsFolder(given.get('local_dir') ?? ''),
    url,
    ...(given.has('token')
      ? {
          problem: {
            code: 'private_source' as const,
            problem: `${url} is fetched with a token.`,
            action:
              'Put a copy where the build can fetch it, or give the build a secret of its own; never a token in endpoint.json.',
          },
        }
      : {}),
  });
}

/** `name=value` of a call, whether text or a name of one; a value that is neither is the empty text. */
function keywords(
  tokens: readonly PythonToken[],
  constants: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const given = new Map<string, string>();
  const plain: string[] = [];
  for (const [at, token] of tokens.entries()) {
    const value = tokens[at + 2];
    if (token.kind === 'name' && tokens[at + 1]?.text === '=' && value !== undefined)
      given.set(token.text, textOf(value, constants) ?? (token.text === 'token' ? '' : `\${${value.text}}`));
    else if (tokens[at - 1]?.text !== '=' && token.kind === 'text')
      plain.push(textOf(token, constants) ?? '');
  }
  // Both may be given by position.
  if (!given.has('repo_id') && plain[0] !== undefined) given.set('repo_id', plain[0]);
  if (!given.has('filename') && plain[1] !== undefined) given.set('filename', plain[1]);
  return given;
}

/** Where the script links or copies what it fetched: the first place in models before the next download. */
function linkTarget(
  after: readonly PythonToken[],
  constants: ReadonlyMap<string, string>,
): { readonly directory: string; readonly filename: string | undefined } | undefined {
  for (const token of after) {
    if (token.kind === 'name' && token.text === 'hf_hub_download') return undefined;
    if (token.kind !== 'text') continue;
    const match = /\/models\/([\w./-]+?)(?:\/([^/\s"']+\.\w+))?\/?(?=["'\s]|$)/.exec(
      textOf(token, constants) ?? '',
    );
    if (match?.[1] !== undefined)
      return { directory: match[1], filename: match[2]?.includes('$') === true ? undefined : match[2] };
  }
  return undefined;
}

function modelsFolder(place: string): string | undefined {
  return /(?:^|\/)models\/(.+?)\/?$/.exec(place)?.[1];
}

function addCopy(
  steps: InstallSteps,
  tokens: readonly PythonToken[],
  constants: ReadonlyMap<string, string>,
): void {
  const texts = tokens.flatMap((token) => (token.kind === 'text' ? [textOf(token, constants) ?? ''] : []));
  const [source, target] = texts;
  if (source !== undefined && target !== undefined) steps.copy(source, target);
}
