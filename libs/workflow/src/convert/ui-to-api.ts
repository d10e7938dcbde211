import {
  type ApiNode,
  type ApiWorkflow,
  isUiWorkflow,
  MAXIMUM_NODES,
  parseApiWorkflow,
} from '../api-workflow.ts';
import type { Json } from '../json-value.ts';
import type { NodeClass, ObjectInfo } from '../object-info.ts';
import { parseUiWorkflow, type UiWorkflow } from '../ui-workflow.ts';
import { WorkflowError } from '../workflow-error.ts';
import { type GraphModel, modelOf, type NodeModel, type WorkflowModel } from './graph-model.ts';
import { childOf, type Instance, LinkResolver, overrideOf } from './link-resolution.ts';
import { metaOf } from './node-meta.ts';
import { PRIMITIVE_WIDGET, type PromotedValues, promotedValues } from './promoted-value.ts';
import { expandPrompt, fillFileName, type FindWidget } from './text-replacement.ts';
import { alignToStep, type Widget } from './widget.ts';

/** Deepest nesting of subgraphs; the page follows promoted widgets as deep. */
export const MAXIMUM_SUBGRAPH_DEPTH = 100;

/** Classes in whose `filename_prefix` the page fills in values of other widgets. */
const SAVE_CLASSES = new Set([
  ...[
    'SaveImage',
    'SaveImageAdvanced',
    'SaveSVGNode',
    'SaveVideo',
    'SaveAnimatedWEBP',
    'SaveAnimatedPNG',
    'SaveWEBM',
  ],
  ...['SaveAudio', 'SaveAudioMP3', 'SaveAudioOpus', 'SaveAudioAdvanced', 'SaveGLB', 'Save3DAdvanced'],
  ...['SaveGaussianSplat', 'SavePointCloud', 'CLIPSave', 'VAESave', 'ModelSave', 'LoraSave', 'SaveLatent'],
]);

/** Options of {@link convertUiWorkflow}. */
export interface ConvertOptions {
  /**
   * Picks one of `count` choices of `{a|b}` in a prompt, from 0. The page picks at random each time; without this the
   * first is taken, so that the same file always gives the same workflow.
   */
  readonly choose?: (count: number) => number;
  /** Fills `%date:…%` in names of output files; without it they stay as they are. */
  readonly now?: Date;
}

/**
 * Converts a workflow in UI format to API format, as ComfyUI's page does when it queues a workflow: subgraphs are
 * flattened (ids `outer:inner`), muted nodes go, bypassed ones are wired through by type, and page-only nodes
 * (Reroute, PrimitiveNode, notes) are followed.
 *
 * @throws {WorkflowError} `unknown_class`, with every class that would run and that `objectInfo` lacks in `classes`;
 * `invalid_workflow` for page-only nodes or subgraphs in a circle, or too many nodes.
 */
export function convertUiWorkflow(
  workflow: UiWorkflow,
  objectInfo: ObjectInfo,
  options: ConvertOptions = {},
): ApiWorkflow {
  const model = modelOf(workflow, objectInfo);
  const promoted = promotedValues(model);
  const placed = placeNodes(model);
  refuseUnknown(placed);
  const conversion: Conversion = {
    findWidget: widgetFinder(model),
    promoted,
    resolver: new LinkResolver(promoted),
    choose: options.choose ?? (() => 0),
    now: options.now,
  };
  const nodes: Record<string, ApiNode> = {};
  for (const { instance, node, nodeClass } of placed) {
    if (nodeClass !== undefined)
      nodes[`${instance.prefix}${node.key}`] = convertNode(conversion, instance, node, nodeClass);
  }
  return nodes;
}

/**
 * The API format of a workflow in either format. A workflow in API format is checked and returned itself.
 *
 * @throws {WorkflowError} as {@link parseApiWorkflow}, {@link parseUiWorkflow} and {@link convertUiWorkflow}.
 */
export function toApiWorkflow(
  value: unknown,
  objectInfo: ObjectInfo,
  options: ConvertOptions = {},
): ApiWorkflow {
  if (!isUiWorkflow(value)) return parseApiWorkflow(value);
  return parseApiWorkflow(convertUiWorkflow(parseUiWorkflow(value), objectInfo, options));
}

interface Conversion {
  readonly findWidget: FindWidget;
  readonly promoted: ReadonlyMap<NodeModel, PromotedValues>;
  readonly resolver: LinkResolver;
  readonly choose: (count: number) => number;
  readonly now: Date | undefined;
}

/** A node that runs, and where. */
interface Placed {
  readonly instance: Instance;
  readonly node: NodeModel;
  readonly nodeClass: NodeClass | undefined;
}

/** Every node that runs, with subgraphs taken apart. */
function placeNodes(model: WorkflowModel): Placed[] {
  const placed: Placed[] = [];
  const root: Instance = {
    graph: model.root,
    prefix: '',
    parent: undefined,
    host: undefined,
    children: new Map(),
    depth: 0,
  };
  const pending: Instance[] = [root];
  let instances = 0;
  for (let instance = pending.pop(); instance !== undefined; instance = pending.pop()) {
    instances += 1;
    for (const node of instance.graph.nodes.values()) {
      const isOff = node.muted || node.bypassed;
      if (node.definition !== undefined) {
        // The page looks only at the mode of instances of the outermost graph; inside, it runs what they hold.
        if (!isOff || instance.host !== undefined) pending.push(childAt(instance, node, node.definition));
      } else if (!isOff && !node.virtual) {
        placed.push({ instance, node, nodeClass: node.nodeClass });
      }
      if (placed.length + pending.length + instances > MAXIMUM_NODES) {
        throw new WorkflowError(
          'invalid_workflow',
          `With its subgraphs taken apart the workflow has more than ${MAXIMUM_NODES} nodes, the most that are accepted.`,
        );
      }
    }
  }
  return placed;
}

function childAt(instance: Instance, node: NodeModel, definition: GraphModel): Instance {
  const child = childOf(instance, node, definition);
  if (child.depth <= MAXIMUM_SUBGRAPH_DEPTH) return child;
  throw new WorkflowError(
    'invalid_workflow',
    `Subgraphs are nested deeper than ${MAXIMUM_SUBGRAPH_DEPTH} levels, the most that are accepted.`,
    { nodeId: child.prefix.slice(0, -1) },
  );
}

function refuseUnknown(placed: readonly Placed[]): void {
  const unknown = placed.filter(({ nodeClass }) => nodeClass === undefined);
  const [first] = unknown;
  if (first === undefined) return;
  const classes = [...new Set(unknown.map(({ node }) => node.type))].sort();
  throw new WorkflowError(
    'unknown_class',
    `The object_info lacks ${classes.length === 1 ? 'the class' : 'the classes'} ${classes.join(', ')}.` +
      " Take the object_info of a ComfyUI that has the workflow's custom nodes (GET /object_info).",
    { nodeId: `${first.instance.prefix}${first.node.key}`, classes },
  );
}

function convertNode(
  conversion: Conversion,
  instance: Instance,
  node: NodeModel,
  nodeClass: NodeClass,
): ApiNode {
  const inputs: Record<string, Json> = {};
  const set = (name: string, value: Json | undefined) => {
    // ComfyUI takes a list for a link; the page wraps lists, and the server takes the wrapping off.
    if (value !== undefined) inputs[name] = Array.isArray(value) ? { __value__: value as Json } : value;
  };
  const primitives = primitivesOf(instance, node);
  for (const widget of node.widgets) {
    if (!widget.sent) continue;
    const value = sentValue(conversion, instance, node, primitives.get(widget.name), widget);
    if (widget.declared?.type === 'CURVE' && value !== undefined && value !== null)
      inputs[widget.name] = { __type__: 'CURVE', __value__: value };
    else set(widget.name, value);
  }
  for (const [index, input] of node.inputs.entries()) {
    if (input.link === undefined) continue;
    const resolved = conversion.resolver.resolve(instance, node, index);
    if (resolved.kind === 'link') inputs[input.name] = [resolved.nodeId, resolved.output];
    else if (resolved.kind === 'value') set(input.name, resolved.value);
  }
  return { inputs, class_type: nodeClass.name, _meta: metaOf(node, nodeClass) };
}

function sentValue(
  conversion: Conversion,
  instance: Instance,
  node: NodeModel,
  primitive: NodeModel | undefined,
  widget: Widget,
): Json | undefined {
  const own = overrideOf(instance, conversion.promoted, node.key, widget.name) ?? widget.value;
  const value = primitive === undefined ? own : primitiveValue(conversion, instance, primitive, widget, own);
  if (typeof value !== 'string') return value;
  if (widget.declared?.options['dynamicPrompts'] === true) return expandPrompt(value, conversion.choose);
  if (widget.name === 'filename_prefix' && SAVE_CLASSES.has(node.type))
    return fillFileName(value, conversion.findWidget, conversion.now);
  return value;
}

/** The PrimitiveNodes that a node's widgets are linked to directly, by widget. */
function primitivesOf(instance: Instance, node: NodeModel): ReadonlyMap<string, NodeModel> {
  const primitives = new Map<string, NodeModel>();
  for (const { link: id, widget } of node.inputs) {
    if (id === undefined || widget === undefined) continue;
    const link = instance.graph.links.get(id);
    const origin = link?.target === node.key ? instance.graph.nodes.get(link.origin) : undefined;
    if (origin?.type === 'PrimitiveNode') primitives.set(widget, origin);
  }
  return primitives;
}

/** What a PrimitiveNode gives a widget: its own value, if it was saved for a widget of that type. */
function primitiveValue(
  { promoted }: Conversion,
  instance: Instance,
  primitive: NodeModel,
  widget: Widget,
  own: Json | undefined,
): Json | undefined {
  const saved = primitive.node.widgets_values;
  const isSameType = primitive.node.outputs?.[0]?.type === widget.declared?.type;
  const value =
    overrideOf(instance, promoted, primitive.key, PRIMITIVE_WIDGET) ??
    (isSameType && Array.isArray(saved) ? (saved as readonly Json[])[0] : undefined) ??
    own;
  return value === undefined ? undefined : alignToStep(widget.declared, value);
}

/** Looks nodes up by their name for search and replace, else by their title; the first of several counts. */
function widgetFinder(model: WorkflowModel): FindWidget {
  let index: ReadonlyMap<string, NodeModel> | undefined;
  return (name, widget) => {
    index ??= namedNodes(model);
    return index.get(name)?.widgets.find((candidate) => candidate.name === widget);
  };
}

function namedNodes(model: WorkflowModel): ReadonlyMap<string, NodeModel> {
  const named = new Map<string, NodeModel>();
  const titled = new Map<string, NodeModel>();
  for (const graph of [model.root, ...model.definitions]) {
    for (const node of graph.nodes.values()) {
      const given = node.node.properties?.['Node name for S&R'];
      const alias = typeof given === 'string' || SAVE_CLASSES.has(node.type) ? given : node.type;
      if (typeof alias === 'string' && !named.has(alias)) named.set(alias, node);
      if (node.node.title !== undefined && !titled.has(node.node.title)) titled.set(node.node.title, node);
    }
  }
  return new Map([...titled, ...named]);
}
