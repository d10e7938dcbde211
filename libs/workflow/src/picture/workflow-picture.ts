import type { ObjectInfo } from '../object-info.ts';
import { type Box, heightOf, layout, LINE, TITLE, unshownMarks } from './layout.ts';
import {
  type HighlightedInputs,
  pictureGraph,
  type PictureGroup,
  type PictureLink,
  type PictureNode,
} from './picture-graph.ts';
import { STYLE } from './picture-style.ts';

/** Options of {@link workflowPicture}. */
export interface PictureOptions {
  /** Inputs to highlight: `config.inputs` of an endpoint.json, or what `inferInputs` found. */
  readonly inputs?: HighlightedInputs;
  /** Text for those who cannot see the picture, and its title in a browser. */
  readonly title?: string;
  /** Largest width and height in pixels: a larger picture is scaled down. Without it texts keep their size, 11 pixels. */
  readonly size?: { readonly width: number; readonly height: number };
}

const MARGIN = 24;

/** Mean width of a letter of the text sizes in use, in pixels: sans-serif at 11 px. */
const LETTER = 6.3;

/** Colours of links by what they carry, as ComfyUI's page has them, in tones that both themes can show. */
const LINK_CLASSES: Readonly<Record<string, string>> = {
  MODEL: 'model',
  CLIP: 'clip',
  VAE: 'vae',
  CONDITIONING: 'cond',
  LATENT: 'latent',
  IMAGE: 'image',
  MASK: 'mask',
  VIDEO: 'video',
  AUDIO: 'audio',
  INT: 'value',
  FLOAT: 'value',
  STRING: 'value',
  BOOLEAN: 'value',
};

/**
 * An SVG of a workflow in either format: nodes, links, groups, and the endpoint's inputs highlighted. It is complete in
 * itself: no scripts, no fonts, no addresses; light or dark as the reader's system. Every text is escaped.
 *
 * @throws {WorkflowError} `invalid_workflow`.
 */
export function workflowPicture(
  value: unknown,
  objectInfo: ObjectInfo,
  options: PictureOptions = {},
): string {
  const graph = pictureGraph(value, objectInfo, options.inputs ?? {});
  const { boxes, isSaved } = layout(graph);
  const groups = isSaved ? graph.groups : [];
  const bounds = boundsOf([
    ...boxes.values(),
    ...groups.map(({ bounds: [x, y, width, height] }) => ({ x, y, width, height })),
  ]);
  const { width, height } = fitted(bounds, options.size ?? { width: Infinity, height: Infinity });
  const byId = new Map(graph.nodes.map((node) => [node.id, node]));
  const label = options.title ?? `A workflow of ${graph.nodes.length} nodes`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${escaped(label)}" width="${round(width)}" height="${round(height)}" viewBox="${[bounds.x, bounds.y, bounds.width, bounds.height].map(round).join(' ')}">`,
    `<title>${escaped(label)}</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="page" x="${round(bounds.x)}" y="${round(bounds.y)}" width="${round(bounds.width)}" height="${round(bounds.height)}"/>`,
    ...groups.map(groupMarkup),
    '<g class="links">',
    ...graph.links.map((link) => linkMarkup(link, byId, boxes)),
    '</g>',
    ...graph.nodes.map((node) => nodeMarkup(node, boxes.get(node.id))),
    '</svg>',
    '',
  ].join('\n');
}

function boundsOf(boxes: readonly Box[]): Box {
  if (boxes.length === 0) return { x: 0, y: 0, width: 200, height: 100 };
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const box of boxes) {
    left = Math.min(left, box.x);
    top = Math.min(top, box.y);
    right = Math.max(right, box.x + box.width);
    bottom = Math.max(bottom, box.y + box.height);
  }
  return {
    x: left - MARGIN,
    y: top - MARGIN,
    width: right - left + 2 * MARGIN,
    height: bottom - top + 2 * MARGIN,
  };
}

function fitted(
  bounds: Box,
  size: { readonly width: number; readonly height: number },
): { width: number; height: number } {
  const scale = Math.min(1, size.width / bounds.width, size.height / bounds.height);
  return { width: bounds.width * scale, height: bounds.height * scale };
}

function groupMarkup({ title, bounds: [x, y, width, height] }: PictureGroup): string {
  const shown = clipped(title, width / 1.3);
  return `<g class="group"><rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}" rx="6"/><text x="${round(x + 8)}" y="${round(y + 20)}">${escaped(shown)}</text></g>`;
}

function linkMarkup(
  link: PictureLink,
  nodes: ReadonlyMap<string, PictureNode>,
  boxes: ReadonlyMap<string, Box>,
): string {
  const [from, to] = [boxes.get(link.from), boxes.get(link.to)];
  const [source, target] = [nodes.get(link.from), nodes.get(link.to)];
  if (from === undefined || to === undefined || source === undefined || target === undefined) return '';
  const [x1, y1] = [from.x + from.width, slotY(source, from, link.output)];
  const [x2, y2] = [to.x, slotY(target, to, link.input)];
  const bend = Math.max(30, Math.min(120, Math.abs(x2 - x1) / 2));
  const path = `M${round(x1)} ${round(y1)}C${round(x1 + bend)} ${round(y1)} ${round(x2 - bend)} ${round(y2)} ${round(x2)} ${round(y2)}`;
  return `<path class="${linkClass(link.type)}" d="${path}"/>`;
}

function linkClass(type: string): string {
  return Object.hasOwn(LINK_CLASSES, type) ? (LINK_CLASSES[type] ?? 'any') : 'any';
}

/** Where the lines of a node begin, below its title and the name of its class. */
function top(node: PictureNode, box: Box): number {
  return box.y + TITLE + (node.className === undefined || node.isNote ? 0 : LINE - 3);
}

function slotY(node: PictureNode, box: Box, slot: number): number {
  return top(node, box) + LINE * (slot + 0.5);
}

function nodeMarkup(node: PictureNode, box: Box | undefined): string {
  if (box === undefined) return '';
  const parts = [
    `<g class="node ${node.state}${node.isNote ? ' note' : ''}${node.marked.size > 0 ? ' marked' : ''}">`,
    `<rect class="box" x="${round(box.x)}" y="${round(box.y)}" width="${round(box.width)}" height="${round(box.height)}" rx="6"/>`,
    `<text class="title" x="${round(box.x + 10)}" y="${round(box.y + 17)}">${escaped(clipped(node.title, (box.width - 20) / 1.12))}</text>`,
  ];
  if (node.className !== undefined && !node.isNote)
    parts.push(
      `<text class="class" x="${round(box.x + 10)}" y="${round(box.y + TITLE + 7)}">${escaped(clipped(node.className, box.width - 20))}</text>`,
    );
  if (node.isNote) parts.push(within(box, noteMarkup(node, box)));
  else parts.push(...slotsMarkup(node, box), within(box, valuesMarkup(node, box).join('')));
  parts.push('</g>');
  return parts.join('');
}

/** What of some markup lies in a box: the reader's font may be wider than thought. */
function within({ x, y, width, height }: Box, markup: string): string {
  if (markup === '') return '';
  const [left, top, across, down] = [x + 1, y, width - 2, height].map(round);
  return `<svg x="${left}" y="${top}" width="${across}" height="${down}" viewBox="${left} ${top} ${across} ${down}">${markup}</svg>`;
}

/** Slots of a class that was seen with hundreds are not all drawn. */
const MOST_SLOTS = 64;

function slotsMarkup(node: PictureNode, box: Box): string[] {
  const isAlone = node.inputs.length === 0 || node.outputs.length === 0;
  const room = isAlone ? box.width - 24 : box.width / 2 - 14;
  const slot = (side: 'in' | 'out', index: number, name: string, type: string) => {
    const y = slotY(node, box, index);
    const x = side === 'in' ? box.x : box.x + box.width;
    const text = clipped(name === '' ? type : name, room);
    const at = side === 'in' ? x + 9 : x - 9;
    return `<circle class="${linkClass(type)}" cx="${round(x)}" cy="${round(y)}" r="4"/><text class="slot ${side}" x="${round(at)}" y="${round(y + 3.5)}">${escaped(text)}</text>`;
  };
  return [
    ...node.inputs.slice(0, MOST_SLOTS).map(({ name, type }, index) => slot('in', index, name, type)),
    ...node.outputs.slice(0, MOST_SLOTS).map(({ name, type }, index) => slot('out', index, name, type)),
  ];
}

function valuesMarkup(node: PictureNode, box: Box): string[] {
  const first = top(node, box) + LINE * Math.max(node.inputs.length, node.outputs.length);
  const lines = [
    ...node.values.map(({ name, text }) => ({
      mark: name === undefined ? undefined : node.marked.get(name),
      name,
      text,
    })),
    ...unshownMarks(node).map((mark) => ({ mark, name: undefined, text: '' })),
  ];
  return lines.map(({ mark, name, text }, index) => {
    const y = first + LINE * index;
    const label = mark === undefined ? [name, text] : [mark, text];
    const shown = clipped(
      label.filter((part) => part !== undefined && part !== '').join(': '),
      box.width - 24,
    );
    const back =
      mark === undefined
        ? ''
        : `<rect class="input" x="${round(box.x + 5)}" y="${round(y + 1)}" width="${round(box.width - 10)}" height="${LINE - 2}" rx="4"/>`;
    return `${back}<text class="value${mark === undefined ? '' : ' input'}" x="${round(box.x + 10)}" y="${round(y + 12.5)}">${escaped(shown)}</text>`;
  });
}

/** The first lines of a note. */
function noteMarkup(node: PictureNode, box: Box): string {
  const letters = Math.max(8, Math.floor((box.width - 20) / LETTER));
  const room = Math.max(1, Math.floor((box.height - TITLE - 8) / LINE));
  const lines = wrapped(
    node.values[0]?.text ?? '',
    letters,
    Math.min(room, Math.floor((heightOf(node) - TITLE) / LINE) + 12),
  );
  return lines
    .map(
      (line, index) =>
        `<text class="value" x="${round(box.x + 10)}" y="${round(box.y + TITLE + 13 + LINE * index)}">${escaped(line)}</text>`,
    )
    .join('');
}

function wrapped(text: string, letters: number, most: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.slice(0, letters * (most + 2)).split(' ')) {
    const part = word.slice(0, letters);
    if (line !== '' && line.length + part.length + 1 > letters) {
      lines.push(line);
      line = part;
    } else line = line === '' ? part : `${line} ${part}`;
  }
  if (line !== '') lines.push(line);
  return lines.slice(0, most);
}

/** As much of a text as has room, in pixels. Chinese, Japanese and Korean letters take double. */
function clipped(text: string, room: number): string {
  let used = 0;
  let shown = '';
  // By letters, not halves of them; a long prompt is not walked to its end.
  for (const letter of text) {
    used += LETTER * (letter.codePointAt(0) !== undefined && (letter.codePointAt(0) ?? 0) > 0x2e7f ? 1.9 : 1);
    if (used > room - LETTER) return `${shown}…`;
    shown += letter;
  }
  return shown;
}

function escaped(text: string): string {
  return Array.from(text)
    .filter((letter) => isXml(letter.codePointAt(0) ?? 0))
    .join('')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

/** Characters that XML 1.0 may hold. */
function isXml(code: number): boolean {
  return (
    code === 9 ||
    code === 10 ||
    code === 13 ||
    (code >= 0x20 && code <= 0xd7ff) ||
    (code >= 0xe000 && code <= 0xfffd) ||
    code >= 0x10000
  );
}

function round(number: number): number {
  return Math.round(number * 10) / 10;
}
