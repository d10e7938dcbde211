import type { ApiWorkflow } from '../api-workflow.ts';
import type { EndpointConfig } from '../endpoint-config.ts';
import type { OutputKind } from '../endpoint-definition.ts';
import type { ObjectInfo } from '../object-info.ts';
import { camelCase, NameList } from './input-name.ts';
import { readMarkers } from './marker.ts';
import { WorkflowView } from './workflow-view.ts';

/** A result of the workflow, as endpoint.json has it, and why. */
export interface InferredOutput {
  readonly name: string;
  readonly output: { readonly node: string; readonly type: OutputKind };
  /** One sentence: by what rule it was found. */
  readonly why: string;
}

/** What an output node saves, by the type of what it is given. */
const KINDS: Readonly<Record<string, OutputKind>> = {
  IMAGE: 'image',
  MASK: 'image',
  VIDEO: 'video',
  AUDIO: 'audio',
  MESH: 'file',
  SVG: 'file',
  VOXEL: 'file',
  STRING: 'text',
  LATENT: 'latent',
  MODEL: 'file',
  CLIP: 'file',
  VAE: 'file',
};

const NAMES: Readonly<Record<OutputKind, string>> = {
  image: 'picture',
  video: 'video',
  audio: 'audio',
  text: 'text',
  file: 'file',
  latent: 'latent',
};

/**
 * What a workflow gives: all that its nodes save, or, where it saves nothing, what they show. Nodes whose title has
 * `@output name` are named so; one with `@ignore` is left out.
 *
 * @throws {WorkflowError} `invalid_marker` as {@link inferInputs}.
 */
export function inferOutputs(workflow: ApiWorkflow, objectInfo: ObjectInfo): InferredOutput[] {
  const view = new WorkflowView(workflow, objectInfo);
  const { outputs: marked, closed } = readMarkers(view);
  const isResult = (id: string) => view.isOutputNode(id) && !isPassedOn(view, id) && !closed.has(id);
  const found = view.ids.filter((id) => isResult(id) || marked.has(id));
  const saving = found.filter((id) => !isPreview(view, id) || marked.has(id));
  const names = new NameList();
  return (saving.length > 0 ? saving : found).flatMap((id) => {
    const type = outputKind(view, id);
    if (type === undefined) return [];
    const name = names.take(marked.get(id) ?? '', NAMES[type], camelCase(view.titleOf(id) ?? ''));
    const why = marked.has(id)
      ? `The title of node ${id} names it.`
      : `Node ${id} (${view.classOf(id)}) ${isPreview(view, id) ? 'shows' : 'saves'} it.`;
    return [{ name, output: { node: id, type }, why }];
  });
}

/** The `outputs` of an endpoint.json. */
export function endpointOutputs(inferred: readonly InferredOutput[]): EndpointConfig['outputs'] {
  return Object.fromEntries(inferred.map(({ name, output }) => [name, { ...output }]));
}

/** Partners' nodes count as outputs so that they run alone; where something saves what they give, that is the result. */
function isPassedOn(view: WorkflowView, id: string): boolean {
  return view.isPartner(id) && view.consumers(id).some(({ node }) => view.isOutputNode(node));
}

function isPreview(view: WorkflowView, id: string): boolean {
  return /preview|compare/i.test(view.classOf(id));
}

function outputKind(view: WorkflowView, id: string): OutputKind | undefined {
  const name = view.classOf(id);
  if (/webm|videocombine|savevideo/i.test(name)) return 'video';
  if (/3d|glb|mesh/i.test(name)) return 'file';
  const types = [...view.links(id).map(({ type }) => type), ...view.outputTypes(id)];
  const known = types.find((type) => Object.hasOwn(KINDS, type));
  if (known !== undefined) return KINDS[known];
  // Any type may be shown (PreviewAny).
  return view.isPartner(id) ? 'file' : types.length > 0 ? 'text' : undefined;
}
