/** What a person may delete of an old side, what it costs, and what speaks against it. Pure: everything live is handed in. */
import {
  type RunPodEndpoint,
  type RunPodNetworkVolume,
  type RunPodTemplate,
  volumeUsdPerMonth,
} from '@ryla/runpod-management';

import type { AccountResources } from './account-resources.ts';
import { isLike, type OldSide } from './old-side.ts';
import { type VolumeData, volumeRefusals } from './volume-data.ts';

/** Something on RunPod. */
export interface Resource {
  readonly kind: 'endpoint' | 'template' | 'network volume';
  readonly id: string;
  readonly name: string;
}

/** Something that only a person deletes. */
export interface Deletion extends Resource {
  /** What goes with it. */
  readonly loses: string;
  /** US dollars that it costs now; null where its price is not known. */
  readonly usdPerMonth: number | null;
  /** What still refers to it, in words; of these, what speaks against it is among the blockers too. */
  readonly referrers: readonly string[];
  /** Why it is not deleted; empty when it may be. */
  readonly blockers: readonly string[];
}

/** What is known beside the account. */
export interface DeletionContext {
  /** Ids of endpoints that are deleted before; what they need is no reason then. */
  readonly going: readonly string[];
  readonly volumes: readonly VolumeData[];
  /** When the old side last had a job that could write to a volume; milliseconds since 1970. */
  readonly lastJobAt: (volumeId: string) => number | null;
  /** Further endpoints of the workspace whose endpoint.json names something. */
  readonly namedBy: (resource: Resource) => readonly string[];
  /** Keys beside the models, of which somebody has said that they may be lost. */
  readonly mayLose: readonly string[];
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Milliseconds for which the comparison of a volume with its copy counts: pods and the S3 API write there too. */
export const VOLUME_CHECK_MS = 24 * 60 * 60 * 1_000;

/** Keys that a sentence names. */
const NAMED = 5;

/** What may be deleted of an old side, in the order in which it goes; what the account does not have is left out. */
export function deletionsOf(
  old: OldSide,
  account: AccountResources,
  context: DeletionContext,
): readonly Deletion[] {
  const live = account.endpoints.filter(({ id }) => id === old.runpodId);
  const templates = (account.templates ?? []).filter(({ id }) => old.templateIds.includes(id));
  const volumes = account.networkVolumes.filter(({ id }) => old.volumeIds.includes(id));
  const others = account.endpoints.filter(({ id }) => !context.going.includes(id));
  return [
    ...live.map(endpointDeletion),
    ...templates.map((template) => templateDeletion(template, { old, others, account, context })),
    ...volumes.map((volume) => volumeDeletion(volume, { old, others, account, context })),
  ];
}

interface Around {
  readonly old: OldSide;
  /** Endpoints that stay. */
  readonly others: readonly RunPodEndpoint[];
  readonly account: AccountResources;
  readonly context: DeletionContext;
}

function endpointDeletion({ id, name, workers }: RunPodEndpoint): Deletion {
  return {
    ...{ kind: 'endpoint', id, name },
    loses: 'its id and URL, its settings (the record keeps them), its releases',
    // Idle, it costs what its workers cost.
    usdPerMonth: 0,
    referrers: [],
    blockers: workers.max > 0 ? [`it may have ${workers.max} workers still: --apply takes them away`] : [],
  };
}

function templateDeletion(
  template: RunPodTemplate,
  { old, others, account: { pods }, context: { namedBy } }: Around,
): Deletion {
  const resource = { kind: 'template', id: template.id, name: template.name } as const;
  const blockers = [
    ...others
      .filter((one) => one.id === old.runpodId || isLike(template, one))
      .map(({ name, id }) =>
        id === old.runpodId
          ? `its endpoint ${name} (${id}) is still there`
          : `the endpoint ${name} (${id}) has its image and variables: it may be made from it`,
      ),
    ...(pods ?? [])
      .filter((pod) => pod.template === template.id)
      .map(({ name, id }) => `the pod ${name} (${id}) was made from it`),
    ...namedBy(resource).map((name) => `endpoint.json of ${name} names it`),
    ...(template.public === true ? ['it is public: others may use it'] : []),
  ];
  return {
    ...resource,
    loses: `its settings (the record keeps them without values of variables): image ${template.image}`,
    usdPerMonth: 0,
    referrers: blockers,
    blockers,
  };
}

function volumeDeletion(
  volume: RunPodNetworkVolume,
  { others, account: { pods }, context }: Around,
): Deletion {
  const { id, name, size, dataCenter } = volume;
  const resource = { kind: 'network volume', id, name } as const;
  const data = context.volumes.find(({ volumeId }) => volumeId === id);
  const mounting = [
    ...others
      .filter(({ networkVolumes }) => networkVolumes.includes(id))
      .map((one) => `the endpoint ${one.name} (${one.id}) mounts it`),
    ...(pods ?? [])
      .filter(({ mounts }) => mounts?.network?.some(({ volumeId }) => volumeId === id) === true)
      .map((pod) => `the pod ${pod.name} (${pod.id}) mounts it`),
  ];
  return {
    ...resource,
    loses: `${size} GB in ${dataCenter}, ${data?.files ?? 0} files of models (${((data?.bytes ?? 0) / 1e9).toFixed(2)} GB)${beside(data)}`,
    usdPerMonth: volumeUsdPerMonth(volume) ?? null,
    referrers: [
      ...mounting,
      ...context.namedBy(resource).map((endpoint) => `endpoint.json of ${endpoint} names it`),
    ],
    blockers: [
      ...mounting,
      ...(pods === undefined ? ['this API key may not read pods, which may mount it'] : []),
      ...dataBlockers(id, data, context),
    ],
  };
}

function beside(data: VolumeData | undefined): string {
  return data === undefined || data.beside.length === 0
    ? ''
    : `, and ${listed(data.beside)} beside them, which no copy has`;
}

/** What would be lost that is nowhere else. */
function dataBlockers(
  volumeId: string,
  data: VolumeData | undefined,
  { lastJobAt, now, mayLose }: DeletionContext,
): readonly string[] {
  if (data?.checkedAt === undefined || data.checkedAt === null)
    return [`nobody has compared it with its copy: \`ryla migrate volume --volume ${volumeId} --check\``];
  const hours = (now - Date.parse(data.checkedAt)) / 3_600_000;
  const isOld = hours * 3_600_000 > VOLUME_CHECK_MS;
  const kept = data.beside.filter((key) => !mayLose.includes(key));
  return [
    ...volumeRefusals(data, lastJobAt(volumeId)).map(({ message }) => message),
    ...(isOld
      ? [
          `it was compared with its copy ${hours.toFixed(0)} h ago; after 24 h that counts no more: \`ryla migrate volume --volume ${volumeId} --check\``,
        ]
      : []),
    ...(kept.length === 0
      ? []
      : [
          `${listed(kept)} on it is in no copy. Save it, or say that it may be lost: ${kept.map((key) => `--lose ${key}`).join(' ')}`,
        ]),
  ];
}

function listed(keys: readonly string[]): string {
  const more = keys.length > NAMED ? ` and ${keys.length - NAMED} more` : '';
  return `${keys.slice(0, NAMED).join(', ')}${more}`;
}
