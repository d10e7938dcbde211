import type { ImportPlan } from './import-plan.ts';
import type { Entry, Fate } from './ledger.ts';

const HEADINGS: Readonly<Record<Fate, string>> = {
  person: 'Needs a person',
  changes: 'Changes, and why',
  exact: 'Maps exactly',
};

/** The report of an import as Markdown. It holds names of variables, never their values. */
export function importReport(plan: ImportPlan): string {
  const { endpoints, present, volumes, entries } = plan;
  const count = (fate: Fate): number => entries.filter((entry) => entry.fate === fate).length;
  return [
    '# Import from RunPod',
    '',
    `${endpoints.length} endpoints, ${volumes.length} network volumes. Of ${entries.length} values ${count('exact')} map exactly, ${count('changes')} change, ${count('person')} need a person. Nothing on RunPod was changed.`,
    '',
    '## Endpoints',
    '',
    ...(endpoints.length + present.length === 0 ? ['None.'] : []),
    ...endpoints.map((endpoint) => `- ${endpointLine(endpoint)}`),
    ...present.map((name) => `- **${name}** is in the workspace already, and stays as it is.`),
    '',
    ...secretLines(plan),
    ...volumeLines(plan),
    ...(['person', 'changes', 'exact'] as const).flatMap((fate) => [
      `## ${HEADINGS[fate]}`,
      '',
      ...table(entries.filter((entry) => entry.fate === fate)),
      '',
    ]),
  ].join('\n');
}

function endpointLine({ name, runpodId, imageModels, mountPath }: ImportPlan['endpoints'][number]): string {
  const facts = [
    ...(runpodId === undefined ? [] : [`RunPod ${runpodId}`]),
    ...(mountPath === undefined ? [] : [`models below ${code(mountPath)}`]),
    ...(imageModels.length === 0 ? [] : [`models in its image: ${imageModels.map(code).join(', ')}`]),
  ];
  const file = code(`apps/endpoints/${name}/endpoint.json`);
  return `**${name}** (${facts.join('; ') || 'no id'}): ${file}. Its workflow is not in the export: add \`workflow.json\`, inputs and outputs.`;
}

function secretLines({ endpoints }: ImportPlan): readonly string[] {
  const secrets = endpoints.flatMap(({ secret }) => secret ?? []);
  if (secrets.length === 0) return [];
  const lines = secrets.map(({ name, variables }) => {
    const values = variables.map((variable) => `${variable}="$${variable}"`).join(' ');
    return `modal secret create ${name} ${values}`;
  });
  return [
    '## Secrets to make',
    '',
    'Values were not copied. With each in the environment:',
    '',
    '```sh',
    ...lines,
    '```',
    '',
  ];
}

function volumeLines({ volumes }: ImportPlan): readonly string[] {
  if (volumes.length === 0) return [];
  const lines = volumes.map(({ id, name, sizeGb, dataCenter, hasS3, endpoints }) => {
    const way = hasS3 ? 'over S3' : 'by a pod: no S3 API there, or its data centre is not known';
    const users =
      endpoints.length === 0 ? 'no endpoint of the export mounts it' : `for ${endpoints.join(', ')}`;
    return `- ${text(name ?? id)} (${text(id)}), ${sizeGb ?? '?'} GB in ${text(dataCenter ?? '?')}: copy ${way}; ${users}.`;
  });
  return ['## Network volumes', '', ...lines, ''];
}

function table(entries: readonly Entry[]): readonly string[] {
  if (entries.length === 0) return ['Nothing.'];
  return [
    '| value | what becomes of it |',
    '| --- | --- |',
    ...entries.map(({ path, note }) => `| ${code(path)} | ${text(note)} |`),
  ];
}

function code(value: string): string {
  return `\`${text(value.replaceAll('`', "'"))}\``;
}

/** Text that stays in its cell and its line. */
function text(value: string): string {
  return value.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ');
}
