import type { PictureGraph, PictureNode } from './picture-graph.ts';

/** Where a node is drawn, in pixels. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Height of a title, of a line of slots or values, and the space below them, in pixels. */
export const TITLE = 26;
export const LINE = 17;
const BOTTOM = 8;

const WIDTH = 220;
const NOTE_WIDTH = 240;
const GAP_X = 70;
const GAP_Y = 26;

/** Most nodes of a column. */
const TALLEST = 12;

/** Height that a node needs for its lines. */
export function heightOf(node: PictureNode): number {
  const lines = node.isNote ? 6 : Math.max(node.inputs.length, node.outputs.length) + linesOfValues(node);
  return TITLE + (node.className === undefined || node.isNote ? 0 : LINE - 3) + lines * LINE + BOTTOM;
}

/** Lines below the slots: its values, and inputs of the endpoint that none of them shows. */
export function linesOfValues(node: PictureNode): number {
  return node.values.length + unshownMarks(node).length;
}

/** Names of the endpoint's inputs that go into the node and are not beside one of its values. */
export function unshownMarks(node: PictureNode): string[] {
  const beside = new Set(node.values.flatMap(({ name }) => (name === undefined ? [] : [name])));
  return [...new Set([...node.marked].filter(([field]) => !beside.has(field)).map(([, name]) => name))];
}

/** Boxes by node, and whether they are where the page had them. */
export interface Layout {
  readonly boxes: ReadonlyMap<string, Box>;
  readonly isSaved: boolean;
}

/**
 * Boxes of all nodes: where the page had them, if it had every one and none lies on another; else in columns, each node
 * right of all that it depends on.
 */
export function layout(graph: PictureGraph): Layout {
  const saved = savedLayout(graph.nodes);
  return saved === undefined
    ? { boxes: layeredLayout(graph), isSaved: false }
    : { boxes: saved, isSaved: true };
}

/** The page's own positions. Its nodes are taller than these where they show pictures or long texts: they keep their size. */
function savedLayout(nodes: readonly PictureNode[]): ReadonlyMap<string, Box> | undefined {
  const boxes = new Map<string, Box>();
  for (const node of nodes) {
    if (node.position === undefined) return undefined;
    const [x, y] = node.position;
    const [width, height] = node.size ?? [WIDTH, 0];
    // litegraph's position is below the title.
    boxes.set(node.id, {
      x,
      y: y - TITLE,
      width: Math.max(140, width),
      height: node.size === undefined ? heightOf(node) : Math.max(heightOf(node), height + TITLE),
    });
  }
  return overlaps([...boxes.values()]) > boxes.size / 4 ? undefined : boxes;
}

/** How many nodes lie on an earlier one for more than a tenth of their own area. */
function overlaps(boxes: readonly Box[]): number {
  // Beyond some thousand nodes nobody looks at the picture closely enough.
  const looked = boxes.slice(0, 2_000);
  return looked.filter((box, index) =>
    looked.slice(0, index).some((other) => shared(box, other) > (box.width * box.height) / 10),
  ).length;
}

function shared(left: Box, right: Box): number {
  const width = Math.min(left.x + left.width, right.x + right.width) - Math.max(left.x, right.x);
  const height = Math.min(left.y + left.height, right.y + right.height) - Math.max(left.y, right.y);
  return Math.max(0, width) * Math.max(0, height);
}

/** Columns by the longest path to a node; within a column nodes are ordered by those they are linked to. */
function layeredLayout({ nodes, links }: PictureGraph): ReadonlyMap<string, Box> {
  const sources = new Map<string, string[]>(nodes.map(({ id }) => [id, []]));
  const targets = new Map<string, string[]>(nodes.map(({ id }) => [id, []]));
  for (const { from, to } of links) {
    sources.get(to)?.push(from);
    targets.get(from)?.push(to);
  }
  const depth = depths(
    nodes.map(({ id }) => id),
    sources,
    targets,
  );
  const linked = nodes.filter(
    ({ id }) => (sources.get(id)?.length ?? 0) + (targets.get(id)?.length ?? 0) > 0,
  );
  const columns: PictureNode[][] = [];
  for (const node of linked) (columns[depth.get(node.id) ?? 0] ??= []).push(node);
  const present = columns.filter((column) => column.length > 0);
  sortColumns(present, sources, targets);
  // Nodes of one column are not linked to each other: a tall one may become several.
  const split = present.flatMap((column) =>
    chunks(column, Math.ceil(column.length / Math.ceil(column.length / TALLEST))),
  );
  // Notes and other nodes without links stand in columns of their own before the rest.
  const isLinked = new Set(linked);
  const alone = nodes.filter((node) => !isLinked.has(node));
  return place([...chunks(alone, 6), ...split]);
}

function depths(
  ids: readonly string[],
  sources: ReadonlyMap<string, readonly string[]>,
  targets: ReadonlyMap<string, readonly string[]>,
): ReadonlyMap<string, number> {
  const depth = new Map(ids.map((id) => [id, 0]));
  const open = new Map(ids.map((id) => [id, sources.get(id)?.length ?? 0]));
  const order = ids.filter((id) => open.get(id) === 0);
  // The list grows while it is walked; nodes in a circle are never reached and stay in the first column.
  for (const id of order) {
    for (const target of targets.get(id) ?? []) {
      depth.set(target, Math.max(depth.get(target) ?? 0, (depth.get(id) ?? 0) + 1));
      const left = (open.get(target) ?? 0) - 1;
      open.set(target, left);
      if (left === 0) order.push(target);
    }
  }
  // A loader beside what uses it makes shorter links than one at the far left.
  for (const id of order.toReversed()) {
    const users = targets.get(id) ?? [];
    if (users.length === 0) continue;
    const nearest = Math.min(...users.map((user) => depth.get(user) ?? 0)) - 1;
    depth.set(id, Math.max(depth.get(id) ?? 0, nearest));
  }
  return depth;
}

/** Rounds of ordering by the mean place of neighbours; more change little. */
const ROUNDS = 6;

function sortColumns(
  columns: PictureNode[][],
  sources: ReadonlyMap<string, readonly string[]>,
  targets: ReadonlyMap<string, readonly string[]>,
): void {
  const place = new Map<string, number>();
  const number = (column: readonly PictureNode[]) => {
    for (const [index, { id }] of column.entries()) place.set(id, index / Math.max(1, column.length - 1));
  };
  columns.forEach(number);
  for (let round = 0; round < ROUNDS; round += 1) {
    const neighbours = round % 2 === 0 ? sources : targets;
    for (const column of round % 2 === 0 ? columns : columns.toReversed()) {
      const mean = new Map(
        column.map(({ id }) => {
          const places = (neighbours.get(id) ?? []).map((other) => place.get(other) ?? 0);
          return [
            id,
            places.length === 0
              ? (place.get(id) ?? 0)
              : places.reduce((sum, one) => sum + one, 0) / places.length,
          ];
        }),
      );
      column.sort((left, right) => (mean.get(left.id) ?? 0) - (mean.get(right.id) ?? 0));
      number(column);
    }
  }
}

function place(columns: readonly (readonly PictureNode[])[]): ReadonlyMap<string, Box> {
  const heights = columns.map((column) => column.reduce((sum, node) => sum + heightOf(node) + GAP_Y, -GAP_Y));
  const tallest = Math.max(0, ...heights);
  const boxes = new Map<string, Box>();
  let x = 0;
  for (const [index, column] of columns.entries()) {
    const width = column.some(({ isNote }) => isNote) ? NOTE_WIDTH : WIDTH;
    let y = (tallest - (heights[index] ?? 0)) / 2;
    for (const node of column) {
      const height = heightOf(node);
      boxes.set(node.id, { x, y, width, height });
      y += height + GAP_Y;
    }
    x += width + GAP_X;
  }
  return boxes;
}

function chunks(nodes: readonly PictureNode[], size: number): PictureNode[][] {
  return Array.from({ length: Math.ceil(nodes.length / size) }, (_, index) =>
    nodes.slice(index * size, (index + 1) * size),
  );
}
