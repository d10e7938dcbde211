import { isObject, type Json } from '../json-value.ts';
import type { GraphModel, NodeModel, WorkflowModel } from './graph-model.ts';

/** The values that an instance of a subgraph sets inside it. */
export interface PromotedValues {
  /** Value of the widget behind each input of the instance; no entry where none is behind it. */
  readonly byInput: ReadonlyMap<number, Json | undefined>;
  /** Values of inner widgets that have no input of their own, by {@link widgetKey}. */
  readonly byWidget: ReadonlyMap<string, Json>;
}

/** Key of a widget, or of the input of an inner instance, of the definition. */
export function widgetKey(node: string, widget: string): string {
  return `${node}\n${widget}`;
}

/** Widget name under which the value of a PrimitiveNode is kept. */
export const PRIMITIVE_WIDGET = 'value';

/** What an input of an instance stands for inside the subgraph. */
interface Source {
  readonly node: string;
  readonly widget: string;
  readonly value: Json | undefined;
}

/** The promoted values of every instance of a subgraph in the workflow. */
export function promotedValues(model: WorkflowModel): ReadonlyMap<NodeModel, PromotedValues> {
  const values = new Map<NodeModel, PromotedValues>();
  const sources = new Map<NodeModel, readonly (Source | undefined)[]>();
  // Inner definitions first: an outer instance may promote what an inner one promotes.
  for (const graph of [...model.definitions, model.root]) {
    for (const host of graph.nodes.values()) {
      if (host.definition === undefined) continue;
      const found = sourcesOf(host.definition, values, sources);
      sources.set(host, found);
      values.set(host, valuesOf(host, host.definition, found, sources));
    }
  }
  return values;
}

/** The inner widget behind each input of a definition: that of the first link which leads to one. */
function sourcesOf(
  definition: GraphModel,
  values: ReadonlyMap<NodeModel, PromotedValues>,
  sources: ReadonlyMap<NodeModel, readonly (Source | undefined)[]>,
): (Source | undefined)[] {
  const targets = targetsByLink(definition);
  return definition.inputs.map((slot) => {
    for (const linkId of slot.linkIds) {
      const target = targets.get(linkId);
      if (target === undefined) continue;
      const { node, index } = target;
      const input = node.inputs[index];
      if (input === undefined) continue;
      if (node.definition === undefined) {
        const widget = node.widgets.find(({ name }) => name === input.widget);
        if (widget !== undefined) return { node: node.key, widget: widget.name, value: widget.value };
      } else if (sources.get(node)?.[index] !== undefined) {
        return { node: node.key, widget: input.name, value: values.get(node)?.byInput.get(index) };
      }
    }
    return undefined;
  });
}

function targetsByLink(graph: GraphModel): Map<number, { node: NodeModel; index: number }> {
  const targets = new Map<number, { node: NodeModel; index: number }>();
  for (const node of graph.nodes.values()) {
    for (const [index, input] of node.inputs.entries()) {
      if (input.link !== undefined) targets.set(input.link, { node, index });
    }
  }
  return targets;
}

function valuesOf(
  host: NodeModel,
  definition: GraphModel,
  found: readonly (Source | undefined)[],
  sources: ReadonlyMap<NodeModel, readonly (Source | undefined)[]>,
): PromotedValues {
  const byInput = new Map<number, Json | undefined>();
  for (const [index, source] of found.entries()) {
    if (source !== undefined) byInput.set(index, source.value);
  }
  const saved = Array.isArray(host.node.widgets_values) ? (host.node.widgets_values as readonly Json[]) : [];
  setSavedValues(byInput, saved);
  const byWidget = setProxied(byInput, host, definition, found, saved, sources);
  return { byInput, byWidget };
}

/** The instance's own values, one for each input with a widget, in the order of the definition. */
function setSavedValues(byInput: Map<number, Json | undefined>, saved: readonly Json[]): void {
  for (const [position, index] of [...byInput.keys()].entries()) {
    const value = saved[position];
    if (value !== undefined) byInput.set(index, value);
  }
}

/**
 * Applies the older way to promote, `properties.proxyWidgets`: a list of inner node and widget, to which the saved
 * values belong one by one.
 */
function setProxied(
  byInput: Map<number, Json | undefined>,
  host: NodeModel,
  definition: GraphModel,
  found: readonly (Source | undefined)[],
  saved: readonly Json[],
  sources: ReadonlyMap<NodeModel, readonly (Source | undefined)[]>,
): Map<string, Json> {
  const byWidget = new Map<string, Json>();
  const bySource = new Map(
    found.flatMap((source, index) =>
      source === undefined ? [] : [[widgetKey(source.node, source.widget), index] as const],
    ),
  );
  const byName = new Map(host.inputs.map(({ name }, index) => [name, index]));
  for (const [position, proxy] of proxiesOf(host, definition).entries()) {
    const value = saved[position];
    if (value === undefined || value === null) continue;
    const { node, widget } = proxy;
    const index = node === '-1' ? byName.get(widget) : bySource.get(widgetKey(node, widget));
    if (index !== undefined) {
      if (byInput.has(index)) byInput.set(index, value);
      continue;
    }
    const inner = definition.nodes.get(node);
    if (inner === undefined) continue;
    const name = innerName(inner, widget, sources);
    if (name !== undefined) byWidget.set(widgetKey(node, name), value);
  }
  return byWidget;
}

function innerName(
  inner: NodeModel,
  widget: string,
  sources: ReadonlyMap<NodeModel, readonly (Source | undefined)[]>,
): string | undefined {
  if (inner.type === 'PrimitiveNode') return PRIMITIVE_WIDGET;
  if (inner.definition === undefined)
    return inner.widgets.some(({ name }) => name === widget) ? widget : undefined;
  const found = sources.get(inner) ?? [];
  const index = inner.inputs.findIndex(({ name }, at) => name === widget || found[at]?.widget === widget);
  return inner.inputs[index]?.name;
}

function proxiesOf(host: NodeModel, definition: GraphModel): { node: string; widget: string }[] {
  const list = host.node.properties?.['proxyWidgets'];
  if (!Array.isArray(list)) return [];
  return (list as readonly Json[]).flatMap((entry) => {
    if (isObject(entry) || !Array.isArray(entry)) return [];
    const [node, widget] = entry as readonly Json[];
    if ((typeof node !== 'string' && typeof node !== 'number') || typeof widget !== 'string') return [];
    const key = String(node);
    return [{ node: definition.renumbered.get(key) ?? key, widget: withoutPrefix(widget) }];
  });
}

/** Old files wrote `3: 7: seed` for a widget two subgraphs deep. */
function withoutPrefix(widget: string): string {
  return /^(?:\s*\d+\s*:)+\s*(.+)$/.exec(widget)?.[1] ?? widget;
}
