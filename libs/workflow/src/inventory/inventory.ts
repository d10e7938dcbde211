import type { ApiWorkflow } from '../api-workflow.ts';
import { convertUiWorkflow } from '../convert/ui-to-api.ts';
import { isObject } from '../json-value.ts';
import type { ObjectInfo } from '../object-info.ts';
import { parseWorkflow, type ParsedWorkflow } from '../parse-workflow.ts';
import { WorkflowError } from '../workflow-error.ts';
import { comfyuiVersion, type ComfyuiVersion } from './comfyui-version.ts';
import { type CustomClass, customClasses, packagesOf } from './custom-nodes.ts';
import { type Determinism, determinismOf, remoteDeterminism } from './determinism.ts';
import { type GpuEstimate, gpuEstimate } from './gpu-estimate.ts';
import { type ModelReference, modelReferences } from './model-files.ts';
import { EMPTY_NODE_MAP, type NodeMap } from './node-map.ts';
import { type NodeUse, nodeUses } from './node-use.ts';
import { type PartnerNode, partnerNodes } from './partner-nodes.ts';
import { compareVersions, isVersion } from './version-order.ts';
import { type WeightEstimate, weightEstimates } from './weight-estimate.ts';

/** What a workflow needs to run, as far as its file tells. */
export interface Inventory {
  readonly models: readonly ModelReference[];
  readonly customClasses: readonly CustomClass[];
  readonly comfyui: ComfyuiVersion;
  /** `undefined` where the object_info lacks a class, so that what would run is not known; `remote` with any partner. */
  readonly determinism: Determinism | undefined;
  readonly weights: readonly WeightEstimate[];
  readonly gpu: GpuEstimate;
  /** Nodes that spend money elsewhere. */
  readonly partnerNodes: readonly PartnerNode[];
}

/** What {@link inventoryOf} may know beside the workflow. */
export interface InventoryOptions {
  /** Classes of ComfyUI without custom nodes: `coreObjectInfo()`. */
  readonly core: ObjectInfo;
  readonly coreVersion: string;
  /** The page that came with it: a file that a later one saved may have newer classes. */
  readonly coreFrontendVersion?: string;
  /** object_info of the user's own server, if there is one. */
  readonly server?: ObjectInfo;
  /** ComfyUI-Manager's map, from `loadNodeMap()`; without it only what the nodes say counts. */
  readonly nodeMap?: NodeMap;
  /** Bytes of model files by name, where they are known. */
  readonly sizes?: ReadonlyMap<string, number>;
}

/**
 * Takes stock of a workflow in either format. Models, weights and GPU are those of nodes that are neither muted nor
 * bypassed; `models` lists the others too.
 *
 * @throws {WorkflowError} `invalid_workflow`.
 */
export function inventoryOf(value: unknown, options: InventoryOptions): Inventory {
  const parsed = parseWorkflow(value);
  const { core, coreVersion, server = {}, nodeMap = EMPTY_NODE_MAP } = options;
  const objectInfo: ObjectInfo = { ...core, ...server };
  const nodes = nodeUses(parsed, objectInfo);
  const newerComfyui = newerThan(options, nodes, value);
  const knowledge = { core, coreVersion, server, map: nodeMap, newerComfyui };
  const models = modelReferences(nodes);
  const weights = weightEstimates(
    models.filter(({ active }) => active),
    options.sizes,
  );
  const runnable = convertedOrNot(parsed, objectInfo);
  const active = nodes.filter((node) => node.active);
  const partners = partnerNodes(active, objectInfo, (node) => packagesOf(node, knowledge));
  return {
    models,
    customClasses: customClasses(nodes, knowledge),
    comfyui: comfyuiVersion(nodes, knowledge),
    determinism:
      partners.length > 0
        ? remoteDeterminism(partners.map(({ node }) => node))
        : runnable && determinismOf(runnable, objectInfo, core),
    weights,
    gpu: gpuEstimate(weights, {
      makesVideo: active.some(({ type }) => /video|animat/i.test(type)),
      asksPartners: partners.length > 0,
    }),
    partnerNodes: partners,
  };
}

/** The ComfyUI that saved a file, where it is newer than the catalogue. */
function newerThan(
  { coreVersion, coreFrontendVersion }: InventoryOptions,
  nodes: readonly NodeUse[],
  value: unknown,
): string | undefined {
  const saved = savedWith(nodes);
  if (saved !== undefined && compareVersions(saved, coreVersion) > 0) return `ComfyUI ${saved}`;
  const extra = isObject(value) && isObject(value['extra']) ? value['extra'] : {};
  const page = extra['frontendVersion'];
  if (coreFrontendVersion === undefined || typeof page !== 'string') return undefined;
  return compareVersions(page, coreFrontendVersion) > 0 ? `a ComfyUI with the page ${page}` : undefined;
}

/** The highest version of ComfyUI that nodes of its own were saved with. */
function savedWith(nodes: readonly NodeUse[]): string | undefined {
  return nodes
    .flatMap(({ cnrId, version }) => (cnrId === 'comfy-core' && isVersion(version) ? [version] : []))
    .sort(compareVersions)
    .at(-1);
}

function convertedOrNot(parsed: ParsedWorkflow, objectInfo: ObjectInfo): ApiWorkflow | undefined {
  if (parsed.format === 'api') return parsed.workflow;
  try {
    return convertUiWorkflow(parsed.workflow, objectInfo);
  } catch (error) {
    if (WorkflowError.isInstance(error) && error.code === 'unknown_class') return undefined;
    throw error;
  }
}
