/** `ryla adopt`: takes over an endpoint on RunPod that ryla did not make. */
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline/promises';

import { stateFolder } from '@ryla/business/config';
import type { Adoption, FieldChange } from '@ryla/runpod-management';

import { changedBy } from '../changed-by.ts';
import { UsageError } from '../exit-codes.ts';
import { type Output, table } from '../output.ts';
import { adoptionRecords } from './adoption-records.ts';
import type { AdoptOptions } from './command-options.ts';
import { inEnvironment, PENDING, reached } from './deployment-place.ts';
import { BEFORE_ADOPTION, createRunPodCloud } from './runpod-cloud.ts';

/** Shows what differs, asks, keeps what is there, and adds the marker. */
export function adopt(name: string, options: AdoptOptions): Promise<void> {
  if (options.confirm !== undefined && options.confirm !== name)
    throw new UsageError(`--confirm ${options.confirm} is not ${name}.`);
  return inEnvironment({ ...options, provider: 'runpod' }, async (workspace, output) => {
    const endpoint = workspace.endpoint(name);
    const resolved = reached(workspace);
    const records = adoptionRecords(stateFolder(resolved));
    await using cloud = createRunPodCloud({
      resolved,
      environment: options.environment,
      images: {},
      records,
    });
    const adoption = await cloud.adoption(endpoint.config);
    if (adoption === undefined)
      throw new UsageError(
        `Nothing is live on RunPod for ${name}: providers.runpod.endpointId of its endpoint.json names what was made by hand; \`ryla deploy ${name} --provider runpod\` makes a new one.`,
        'nothing_to_adopt',
      );
    output.note(adoptionText(adoption));
    if (adoption.isManaged) {
      said(output, adoption, 'unchanged', null);
      return;
    }
    if (options.plan === true) {
      process.exitCode = PENDING;
      said(output, adoption, 'planned', null);
      return;
    }
    if (options.confirm === undefined) await confirm(name, adoption);
    // What was there is kept before anything is changed.
    const key = { endpoint: name, environment: adoption.environment };
    const file = await records.keep(key, adoption.live, changedBy(undefined));
    await cloud.adopt(adoption);
    said(output, adoption, 'adopted', file);
  });
}

function said(
  output: Output,
  { endpoint, environment, id, differences, isManaged }: Adoption,
  result: 'adopted' | 'planned' | 'unchanged',
  record: string | null,
): void {
  const words = {
    adopted: `${endpoint}: RunPod's ${id} is managed by ryla now. What it was is kept in ${path.relative(process.cwd(), record ?? '')}, with the values of its variables.\n\`ryla drift --provider runpod\` shows what a deploy would change; \`ryla rollback ${endpoint} --provider runpod --to ${BEFORE_ADOPTION}\` gives it back.`,
    planned: `${endpoint}: RunPod's ${id} was not changed.`,
    unchanged: `${endpoint}: RunPod's ${id} is managed by ryla already.`,
  } as const;
  output.result(
    { endpoint, environment, id, result, wasManaged: isManaged, differences, record },
    words[result],
  );
}

/** What adoption does, and what a deploy would do afterwards. */
export function adoptionText({ endpoint, id, live, differences, marker, isManaged }: Adoption): string {
  return [
    `${endpoint} on RunPod: ${live.name} (${id}), image ${live.image ?? 'unknown'}`,
    ...(isManaged
      ? []
      : [
          `Adopting adds the variables ${Object.keys(marker).join(', ')}; its settings, its other variables and its image stay. RunPod replaces its workers by others of the same image.`,
        ]),
    ...(differences.length === 0
      ? ['Its settings are those of endpoint.json.']
      : ['The next deploy would change:', differenceTable(differences)]),
  ].join('\n');
}

function differenceTable(differences: readonly FieldChange[]): string {
  return table(
    ['field', 'on RunPod', 'in endpoint.json'],
    differences.map(({ field, from, to }) => [field, from, to]),
  );
}

async function confirm(name: string, { live }: Adoption): Promise<void> {
  if (!process.stdin.isTTY)
    throw new UsageError(
      `Nothing was changed: without a terminal to ask on, repeat the name: --confirm ${name}`,
      'not_confirmed',
    );
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await lines.question(
      `Take over ${live.name} as ${name}? Its name (${name}), to confirm: `,
    );
    if (answer.trim() !== name)
      throw new UsageError(`"${answer}" is not ${name}: nothing was changed.`, 'not_confirmed');
  } finally {
    lines.close();
  }
}
