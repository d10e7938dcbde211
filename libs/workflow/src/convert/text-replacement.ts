import type { Json } from '../json-value.ts';

/** Finds the value of a widget by the name of a node (`Node name for S&R`, or its title) and of the widget. */
export type FindWidget = (node: string, widget: string) => { readonly value: Json | undefined } | undefined;

/**
 * Prompts may hold comments and choices. Comments (C's two kinds) go; of `{a|b}` one part stays, which `choose` picks; a
 * backslash keeps a brace or a bar. A brace that is never closed ends with the text.
 */
export function expandPrompt(text: string, choose: (count: number) => number): string {
  const source = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
  // Each open brace starts a frame: the parts that are finished, and the one that is being written.
  const frames: Frame[] = [];
  let frame: Frame = { parts: [], current: '' };
  const close = () => {
    const outer = frames.pop();
    if (outer === undefined) return;
    const parts = [...frame.parts, frame.current];
    outer.current += parts[choose(parts.length)] ?? '';
    frame = outer;
  };
  for (let index = 0; index < source.length; index += 1) {
    const character = source.charAt(index);
    if (character === '\\') {
      index += 1;
      const next = source.charAt(index);
      frame.current += next === '{' || next === '}' || next === '|' ? next : character + next;
    } else if (character === '{') {
      frames.push(frame);
      frame = { parts: [], current: '' };
    } else if (character === '|' && frames.length > 0) {
      frame.parts.push(frame.current);
      frame.current = '';
    } else if (character === '}' && frames.length > 0) {
      close();
    } else {
      frame.current += character;
    }
  }
  while (frames.length > 0) close();
  return frame.current;
}

interface Frame {
  readonly parts: string[];
  current: string;
}

/** Characters that no file name may hold. */
const UNSAFE_IN_FILE = /[/?<>\\:*|"\x00-\x1F\x7F]/g;

/**
 * Fills `%Node.widget%` and `%date:yyyy-MM-dd%` in the name of an output file. What is not known stays as it is, as
 * do `%width%` and the like, which ComfyUI fills itself; dates stay without `now`.
 */
export function fillFileName(text: string, find: FindWidget, now: Date | undefined): string {
  return text.replaceAll(/%([^%]+)%/g, (whole, inner: string) => {
    const [node, widget, ...rest] = inner.split('.');
    if (node !== undefined && widget !== undefined && rest.length === 0) {
      const found = find(node, widget);
      return found === undefined ? whole : shown(found.value).replaceAll(UNSAFE_IN_FILE, '_');
    }
    return now !== undefined && inner.startsWith('date:')
      ? formatDate(inner.slice('date:'.length), now)
      : whole;
  });
}

function shown(value: Json | undefined): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function formatDate(format: string, now: Date): string {
  const parts: Readonly<Record<string, number>> = {
    d: now.getDate(),
    M: now.getMonth() + 1,
    h: now.getHours(),
    m: now.getMinutes(),
    s: now.getSeconds(),
  };
  return format.replaceAll(/d{1,2}|M{1,2}|h{1,2}|m{1,2}|s{1,2}|yyyy|yy/g, (token) => {
    if (token === 'yyyy') return String(now.getFullYear());
    if (token === 'yy') return String(now.getFullYear()).slice(2);
    return String(parts[token.charAt(0)] ?? '').padStart(token.length, '0');
  });
}
