import type { CustomClass, EndpointInput, InferredInput, ModelReference } from '@ryla/workflow';

import { table } from './output.ts';
import type { WorkflowInspection } from './workflow-inspection.ts';

/** Longest cell of a table; what is longer is in the JSON document. */
const WIDEST = 72;

/** What is known of a workflow, for people. */
export function inspectionText(file: string, found: WorkflowInspection): string {
  const format = found.format === 'ui' ? 'as ComfyUI saves it' : 'API format';
  const hash = found.hash === undefined ? '' : `, hash ${found.hash.slice(0, 16)}`;
  const sections = [
    `${file}: ${format}, ${found.nodes} nodes${hash}`,
    found.notConverted === undefined
      ? undefined
      : `Inputs and outputs are not known: ${found.notConverted} Give it with --object-info.`,
    inputsText(found.inputs),
    brokenText(found),
    section(
      ['output', 'type', 'node', 'why'],
      found.outputs.map(({ name, type, node, class: className, why }) => [
        name,
        type,
        `${node} (${className})`,
        why,
      ]),
    ),
    modelsText(found.models),
    customText(found.customClasses),
    `ComfyUI: ${found.comfyui.version ?? 'version unknown'}. ${found.comfyui.why}`,
    determinismText(found),
    gpuText(found),
    partnersText(found),
    found.deadNodes.length === 0
      ? undefined
      : `Never run, as no output depends on them: nodes ${found.deadNodes.join(', ')}`,
  ];
  return sections.filter((text) => text !== undefined).join('\n\n');
}

function section(head: readonly string[], rows: readonly (readonly string[])[]): string | undefined {
  if (rows.length === 0) return undefined;
  return table(
    head,
    rows.map((row) => row.map(shortened)),
  );
}

function shortened(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ');
  return line.length > WIDEST ? `${line.slice(0, WIDEST - 1)}…` : line;
}

function inputsText(inputs: readonly InferredInput[]): string | undefined {
  return section(
    ['input', 'type', 'node', 'default', 'why'],
    inputs.map(({ name, input, why }) => [
      name,
      typeText(input),
      `${input.node}.${input.field}`,
      defaultText(input),
      why,
    ]),
  );
}

function brokenText({ brokenInputs }: WorkflowInspection): string | undefined {
  if (brokenInputs.length === 0) return undefined;
  return [
    'No inputs, as the file holds something else there:',
    ...brokenInputs.map(({ why }) => `  ${why}`),
  ].join('\n');
}

function typeText(input: EndpointInput): string {
  if (input.type === 'enum')
    return input.values.length > 4 ? `one of ${input.values.length}` : input.values.join(' | ');
  if (input.type !== 'integer' && input.type !== 'number') return input.type;
  const { minimum, maximum } = input;
  return minimum === undefined && maximum === undefined
    ? input.type
    : `${input.type} ${minimum ?? ''}…${maximum ?? ''}`;
}

function defaultText(input: EndpointInput): string {
  return input.default === undefined ? '' : shortened(String(input.default)).slice(0, 32);
}

function modelsText(models: readonly ModelReference[]): string {
  const rows = models.map((model) => {
    const place = [model.directory ?? '(folder unknown)', model.subfolder, model.filename].filter(
      (part) => part !== undefined,
    );
    const source =
      model.url === undefined
        ? 'the file names no source'
        : `${model.pinned ? '' : '(a branch, not pinned) '}${model.url}`;
    const nodes = [...new Set([...model.loadedBy, ...model.declaredBy])].join(', ');
    return [place.join('/'), `${nodes}${model.active ? '' : ' (muted)'}`, source];
  });
  return section(['model', 'nodes', 'source'], rows) ?? 'No model files.';
}

function customText(classes: readonly CustomClass[]): string {
  const rows = classes.map(({ className, nodes, source }) => [
    className,
    nodes.join(', '),
    sourceText(source),
    source.evidence,
  ]);
  return section(['custom node', 'nodes', 'from', 'because'], rows) ?? 'No custom nodes.';
}

function sourceText(source: CustomClass['source']): string {
  switch (source.kind) {
    case 'repository': {
      const version = source.registry?.version;
      const pin =
        source.commit?.slice(0, 12) ?? (version === undefined ? 'commit unknown' : `version ${version}`);
      return `${source.repository} (${pin})`;
    }
    case 'registry':
      return `registry: ${source.registry.id} ${source.registry.version ?? '(version unknown)'}`;
    case 'ambiguous':
      return `not certain: ${source.candidates.join(' or ')}`;
    case 'unknown':
      return 'unknown';
  }
}

function determinismText({ determinism }: WorkflowInspection): string {
  if (determinism === undefined) return 'Determinism: not known, as a class is missing.';
  const nodes = determinism.nodes.length === 0 ? '' : ` Nodes: ${determinism.nodes.join(', ')}.`;
  return `Determinism: ${determinism.class}. ${determinism.why}${nodes}`;
}

function gpuText({ gpu }: WorkflowInspection): string {
  if (gpu.needs === 'none') return `Smallest GPU: none needed. ${gpu.rule}`;
  const card = gpu.gpu ?? 'no single one has the memory';
  const rough = gpu.isRough ? ' Some sizes are only usual ones for their folder.' : '';
  const weights = gpu.weightsGb === 0 ? '' : ` ${gpu.weightsGb} GB of files in all.`;
  return `Smallest GPU: ${card}, for ${gpu.neededGb} GB. ${gpu.rule}${weights}${rough}`;
}

function partnersText({ partnerNodes }: WorkflowInspection): string | undefined {
  if (partnerNodes.length === 0) return undefined;
  const list = partnerNodes.map(
    ({ node, className, partner }) =>
      `${className} (node ${node}${partner === undefined ? '' : `, ${partner}`})`,
  );
  return `Spends money elsewhere, on an account with partners of ComfyUI: ${list.join(', ')}`;
}
