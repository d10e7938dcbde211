/** A token of a Python source; comments and white space are left out, and texts side by side are one. */
export interface PythonToken {
  readonly kind: 'text' | 'name' | 'other';
  /** The name, the sign, or what a text says. */
  readonly text: string;
  /** Whether it is an f-string. */
  readonly isFormatted: boolean;
}

const STRING = /^([rRbBuUfF]{0,2})("""|'''|"|')/;

/** Takes a Python source apart, far enough to see calls, names and texts. */
export function pythonTokens(source: string): PythonToken[] {
  const tokens: PythonToken[] = [];
  let at = 0;
  while (at < source.length) {
    const char = source.charAt(at);
    if (char === '#') {
      const end = source.indexOf('\n', at);
      at = end === -1 ? source.length : end;
      continue;
    }
    if (/\s/.test(char) || (char === '\\' && source.charAt(at + 1) === '\n')) {
      at += 1;
      continue;
    }
    const string = STRING.exec(source.slice(at, at + 5));
    if (string !== null) {
      const [opening, prefix = '', quote = '"'] = string;
      const start = at + opening.length;
      const end = closing(source, start, quote);
      push(tokens, unescaped(source.slice(start, end), /r/i.test(prefix)), /f/i.test(prefix));
      at = end + quote.length;
      continue;
    }
    const name = /^[A-Za-z_]\w*/.exec(source.slice(at, at + 200))?.[0];
    tokens.push({ kind: name === undefined ? 'other' : 'name', text: name ?? char, isFormatted: false });
    at += name?.length ?? 1;
  }
  return tokens;
}

/** Whether a token is a text as written. */
export function isLiteral(token: PythonToken): boolean {
  return token.kind === 'text';
}

/** Python joins texts that follow each other. */
function push(tokens: PythonToken[], text: string, isFormatted: boolean): void {
  const last = tokens.at(-1);
  if (last?.kind !== 'text') {
    tokens.push({ kind: 'text', text, isFormatted });
    return;
  }
  // Braces of the part that is no f-string stand for themselves.
  const asFormatted = (part: string, is: boolean) => (is ? part : part.replace(/[{}]/g, '$&$&'));
  const either = last.isFormatted || isFormatted;
  const joined = either
    ? asFormatted(last.text, last.isFormatted) + asFormatted(text, isFormatted)
    : last.text + text;
  tokens[tokens.length - 1] = { kind: 'text', text: joined, isFormatted: either };
}

function closing(source: string, start: number, quote: string): number {
  for (let at = start; at < source.length; at += 1) {
    if (source.charAt(at) === '\\') at += 1;
    else if (source.startsWith(quote, at)) return at;
    else if (quote.length === 1 && source.charAt(at) === '\n') return at;
  }
  return source.length;
}

function unescaped(text: string, isRaw: boolean): string {
  if (isRaw) return text;
  return text.replace(/\\(\r?\n|.)/gs, (_whole, char: string) => {
    if (char.endsWith('\n')) return '';
    return { n: '\n', t: '\t', r: '\r' }[char] ?? (/["'\\]/.test(char) ? char : `\\${char}`);
  });
}
