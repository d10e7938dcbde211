import { type ApiNode, type ApiWorkflow, isLink, type Link } from './api-workflow.ts';
import { findClass, type ObjectInfo } from './object-info.ts';

/** The inputs of a node that are links, by name. */
export function linksOf(node: ApiNode): [input: string, link: Link][] {
  const links: [string, Link][] = [];
  for (const [input, value] of Object.entries(node.inputs)) {
    if (isLink(value)) links.push([input, value]);
  }
  return links;
}

/** Ids of the nodes that ComfyUI runs for their own sake: SaveImage, PreviewImage and their like. */
export function outputNodes(workflow: ApiWorkflow, objectInfo: ObjectInfo): string[] {
  return Object.entries(workflow).flatMap(([id, node]) =>
    findClass(objectInfo, node.class_type)?.output_node === true ? [id] : [],
  );
}

/** The given nodes and all that they depend on. Ids that the workflow lacks are left out. */
export function ancestorsOf(workflow: ApiWorkflow, ids: Iterable<string>): Set<string> {
  const found = new Set<string>();
  const pending: string[] = [...ids];
  for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
    const node = nodeOf(workflow, id);
    if (node === undefined || found.has(id)) continue;
    found.add(id);
    for (const [, [source]] of linksOf(node)) {
      if (!found.has(source)) pending.push(source);
    }
  }
  return found;
}

/** Ids of the nodes that no output depends on: ComfyUI never runs them. */
export function deadNodes(workflow: ApiWorkflow, objectInfo: ObjectInfo): string[] {
  const alive = ancestorsOf(workflow, outputNodes(workflow, objectInfo));
  return Object.keys(workflow).filter((id) => !alive.has(id));
}

/** The nodes of a circle of links, each depending on the next and the last on the first; `undefined` if there is none. */
export function findCycle(workflow: ApiWorkflow): string[] | undefined {
  const done = new Set<string>();
  for (const start of Object.keys(workflow)) {
    const path: { readonly id: string; readonly sources: string[] }[] = [];
    const open = new Set<string>();
    const enter = (id: string) => {
      const node = nodeOf(workflow, id);
      if (node === undefined || done.has(id)) return;
      open.add(id);
      path.push({ id, sources: linksOf(node).map(([, [source]]) => source) });
    };
    enter(start);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const source = top.sources.pop();
      if (source === undefined) {
        path.pop();
        open.delete(top.id);
        done.add(top.id);
      } else if (open.has(source)) {
        const ids = path.map(({ id }) => id);
        return ids.slice(ids.indexOf(source));
      } else {
        enter(source);
      }
    }
  }
  return undefined;
}

function nodeOf(workflow: ApiWorkflow, id: string): ApiNode | undefined {
  return Object.hasOwn(workflow, id) ? workflow[id] : undefined;
}
