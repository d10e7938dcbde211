import { type ApiWorkflow, isLink } from '../api-workflow.ts';
import { isObject, type Json, type JsonObject } from '../json-value.ts';
import { findClass, inputsOf, type ObjectInfo } from '../object-info.ts';
import type { ParsedWorkflow } from '../parse-workflow.ts';
import { nodeKey, type UiSubgraph, type UiWorkflow } from '../ui-workflow.ts';

/** A node as an inventory looks at it, in either format. */
export interface NodeUse {
  /** Its id in the file; a node of a subgraph definition as `<definition>:<id>`. */
  readonly id: string;
  readonly type: string;
  /** Neither muted nor bypassed. Nodes of a definition count as they are in it. */
  readonly active: boolean;
  /** Package of the node in the Comfy registry; `comfy-core` for ComfyUI's own. */
  readonly cnrId: string | undefined;
  /** Repository on GitHub, `user/name`. */
  readonly auxId: string | undefined;
  /** Version or commit of the package. */
  readonly version: string | undefined;
  /** Constant values with the names of their inputs, where those are known. */
  readonly values: readonly { readonly field: string | undefined; readonly value: Json }[];
  /** `properties.models` as the file has it: UI format only. */
  readonly declaredModels: readonly JsonObject[];
}

/** Nodes that exist on the page only. */
const VIRTUAL = new Set(['Reroute', 'PrimitiveNode', 'Note', 'MarkdownNote']);

/** Every node of a workflow except those of the page itself, each definition of a subgraph once. */
export function nodeUses(parsed: ParsedWorkflow, objectInfo: ObjectInfo): NodeUse[] {
  return parsed.format === 'api' ? apiNodes(parsed.workflow) : uiNodes(parsed.workflow, objectInfo);
}

function apiNodes(workflow: ApiWorkflow): NodeUse[] {
  return Object.entries(workflow).map(([id, node]) => ({
    id,
    type: node.class_type,
    active: true,
    cnrId: node._meta?.cnr_id,
    auxId: node._meta?.aux_id,
    version: node._meta?.ver,
    values: Object.entries(node.inputs).flatMap(([field, value]) =>
      isLink(value) ? [] : [{ field, value }],
    ),
    declaredModels: [],
  }));
}

function uiNodes(workflow: UiWorkflow, objectInfo: ObjectInfo): NodeUse[] {
  const graphs = graphsOf(workflow);
  const definitions = new Set(graphs.map(({ id }) => id));
  return graphs.flatMap(({ graph, id: definition }) =>
    graph.nodes.flatMap((node): NodeUse[] => {
      if (definitions.has(node.type) || VIRTUAL.has(node.type)) return [];
      const properties = node.properties ?? {};
      const text = (name: string) =>
        typeof properties[name] === 'string' ? properties[name] || undefined : undefined;
      const models = properties['models'];
      return [
        {
          id: definition === undefined ? nodeKey(node.id) : `${definition}:${nodeKey(node.id)}`,
          type: node.type,
          active: node.mode !== 2 && node.mode !== 4,
          cnrId: text('cnr_id'),
          auxId: text('aux_id'),
          version: text('ver'),
          values: widgetValues(node.type, node.widgets_values, objectInfo),
          declaredModels: Array.isArray(models) ? (models as readonly Json[]).filter(isJsonObject) : [],
        },
      ];
    }),
  );
}

function isJsonObject(value: Json): value is JsonObject {
  return isObject(value);
}

function graphsOf(
  workflow: UiWorkflow,
): { readonly graph: UiWorkflow | UiSubgraph; readonly id: string | undefined }[] {
  const found: { readonly graph: UiWorkflow | UiSubgraph; readonly id: string | undefined }[] = [
    { graph: workflow, id: undefined },
  ];
  const seen = new Set<string>();
  // The list grows while it is walked.
  for (const { graph } of found) {
    for (const inner of graph.definitions?.subgraphs ?? []) {
      if (seen.has(inner.id)) continue;
      seen.add(inner.id);
      found.push({ graph: inner, id: inner.id });
    }
  }
  return found;
}

/** Widget values; the name is known where a node saves them by name, or has one widget for files only. */
function widgetValues(
  type: string,
  values: readonly Json[] | JsonObject | null | undefined,
  objectInfo: ObjectInfo,
): NodeUse['values'] {
  if (values === undefined || values === null) return [];
  if (!isList(values)) return Object.entries(values).map(([field, value]) => ({ field, value }));
  const nodeClass = findClass(objectInfo, type);
  const files = nodeClass === undefined ? [] : inputsOf(nodeClass).filter((input) => input.type === 'COMBO');
  return values.map((value, index) => ({
    field: files.length === 1 || index === 0 ? files[index]?.name : undefined,
    value,
  }));
}

function isList(values: readonly Json[] | JsonObject): values is readonly Json[] {
  return Array.isArray(values);
}
