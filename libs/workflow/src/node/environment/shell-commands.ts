/** One command of a shell line, as words without quotes. */
export type ShellCommand = readonly string[];

/**
 * The commands of a shell script, in order: words with quotes and variables resolved. Conditions, loops and pipes are not
 * followed: each of their commands counts. A variable without a value stays as `${NAME}`.
 */
export function shellCommands(
  script: string,
  variables: ReadonlyMap<string, string> = new Map(),
): ShellCommand[] {
  const commands: string[][] = [];
  let words: string[] = [];
  let word: string | undefined;
  const endWord = () => {
    if (word !== undefined) words.push(word);
    word = undefined;
  };
  const endCommand = () => {
    endWord();
    while (words[0] !== undefined && LEADING.has(words[0])) words.shift();
    while (words[0] !== undefined && /^[A-Za-z_]\w*=/.test(words[0])) words.shift();
    if (words.length > 0) commands.push(words);
    words = [];
  };
  const text = script.replace(/\\\r?\n/g, ' ');
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (char === "'" || char === '"') {
      const end = closingQuote(text, at);
      const inner = text.slice(at + 1, end);
      word = (word ?? '') + (char === "'" ? inner : expand(inner.replace(/\\(["\\$`])/g, '$1'), variables));
      at = end;
    } else if (char === '\\' && at + 1 < text.length) {
      at += 1;
      word = (word ?? '') + text.charAt(at);
    } else if (char === '#' && word === undefined) {
      while (at + 1 < text.length && text.charAt(at + 1) !== '\n') at += 1;
    } else if (/[;&|\n(){}]/.test(char) && !(char === '{' && text.charAt(at - 1) === '$')) {
      if (char === '}' && word?.includes('${') === true) word += char;
      else endCommand();
    } else if (/\s/.test(char)) {
      endWord();
    } else if (char === '$') {
      const match = /^\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))/.exec(text.slice(at));
      word = (word ?? '') + (match === null ? '$' : expand(match[0], variables));
      at += (match?.[0].length ?? 1) - 1;
    } else {
      word = (word ?? '') + char;
    }
  }
  endCommand();
  return commands;
}

/** Words before the one that counts. */
const LEADING = new Set(['sudo', 'then', 'do', 'else', 'if', 'while', '!', 'time', 'exec', 'yes', 'env']);

function closingQuote(text: string, start: number): number {
  const quote = text.charAt(start);
  for (let at = start + 1; at < text.length; at += 1) {
    if (quote === '"' && text.charAt(at) === '\\') at += 1;
    else if (text.charAt(at) === quote) return at;
  }
  return text.length;
}

/** Replaces `$NAME`, `${NAME}` and `${NAME:-value}` by what is known. */
export function expand(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(
    /\$(?:\{(\w+)(?::-([^}]*))?\}|([A-Za-z_]\w*))/g,
    (_whole, braced?: string, fallback?: string, plain?: string) => {
      const name = braced ?? plain ?? '';
      const value = variables.get(name);
      return value === undefined || value === '' ? (fallback ?? value ?? `\${${name}}`) : value;
    },
  );
}

/** The options and other words of a command. */
export interface CommandLine {
  readonly options: ReadonlyMap<string, string>;
  readonly words: readonly string[];
}

/** Takes a command apart; `withValue` are the options that a value follows: `-b main`, `--branch main`. */
export function commandLine(words: ShellCommand, withValue: ReadonlySet<string>): CommandLine {
  const options = new Map<string, string>();
  const rest: string[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const equals = word.startsWith('--') ? word.indexOf('=') : -1;
    if (equals > 0) options.set(word.slice(0, equals), word.slice(equals + 1));
    else if (withValue.has(word)) {
      at += 1;
      options.set(word, words[at] ?? '');
    } else if (word.startsWith('-') && word !== '-') options.set(word, '');
    else rest.push(word);
  }
  return { options, words: rest };
}
