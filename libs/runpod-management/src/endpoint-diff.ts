/** What differs between an endpoint as it shall be and as it is. Pure. */
import { referencedSecret } from './environment-variables.ts';
import { plainName } from './ownership.ts';
import { gpuRequest, type ResolvedEndpoint } from './resolved-endpoint.ts';
import type { EndpointUpdate, RunPodEndpoint } from './schemas.ts';
import { OWN_VARIABLES } from './settings.ts';

/**
 * When a change is felt: `workers-replaced` makes a new release, to which every worker is cycled; `new-workers` concerns where
 * later workers run; `at-once` is the autoscaler's (RunPod's document on PATCH /v2/serverless/{id}).
 */
export type ChangeEffect = 'workers-replaced' | 'new-workers' | 'at-once';

/** One field that differs, in words. Values of environment variables are hidden unless they cannot be secrets. */
export interface FieldChange {
  /** Field of RunPod's document, such as `workers.max` or `env.LOG_LEVEL`. */
  readonly field: string;
  readonly from: string;
  readonly to: string;
  readonly effect: ChangeEffect;
}

/** What differs, and the PATCH that makes it equal. */
export interface EndpointDifference {
  readonly changes: readonly FieldChange[];
  readonly update: EndpointUpdate;
}

const OWN_NAMES = new Set<string>(Object.values(OWN_VARIABLES));

/** Compares; what `wanted` leaves undefined is not looked at. */
export function differenceOf(wanted: ResolvedEndpoint, live: RunPodEndpoint): EndpointDifference {
  const changes: FieldChange[] = [];
  let update: EndpointUpdate = {};
  function compare(
    part: EndpointUpdate,
    effect: ChangeEffect,
    fields: readonly (readonly [field: string, from: string, to: string])[],
  ): void {
    const different = fields.filter(([, from, to]) => from !== to);
    if (different.length === 0) return;
    changes.push(...different.map(([field, from, to]) => ({ field, from, to, effect })));
    update = { ...update, ...part };
  }

  compare({ name: wanted.name }, 'at-once', [['name', plainName(live.name), wanted.name]]);
  compare({ image: wanted.image }, 'workers-replaced', [['image', live.image ?? NONE, wanted.image]]);
  if (wanted.args !== undefined && wanted.args !== (live.args ?? ''))
    compare({ args: wanted.args }, 'workers-replaced', [
      ['args', live.args ? '(hidden)' : NONE, '(other arguments)'],
    ]);
  if (wanted.disk !== undefined)
    compare({ disk: wanted.disk }, 'workers-replaced', [
      ['disk', `${live.disk ?? NONE} GB`, `${wanted.disk} GB`],
    ]);
  if (wanted.registry !== undefined)
    compare({ registry: wanted.registry }, 'workers-replaced', [
      ['registry', live.registry ?? NONE, wanted.registry],
    ]);
  const variables = variableChanges(wanted, live);
  if (variables.length > 0) {
    changes.push(...variables);
    update = { ...update, env: wanted.env };
  }
  compare({ gpu: gpuRequest(wanted.gpu) }, 'new-workers', [
    ['gpu.pools', set(live.gpu?.pools), set(wanted.gpu.pools)],
    ['gpu.excludedTypes', set(live.gpu?.excludedTypes), set(wanted.gpu.excludedTypes)],
    ['gpu.count', String(live.gpu?.count ?? NONE), String(wanted.gpu.count)],
  ]);
  compare({ workers: wanted.workers }, 'at-once', [
    ['workers.min', String(live.workers.min), String(wanted.workers.min)],
    ['workers.max', String(live.workers.max), String(wanted.workers.max)],
    ...(wanted.workers.idleTimeout === undefined
      ? []
      : ([
          ['workers.idleTimeout', seconds(live.workers.idleTimeout), seconds(wanted.workers.idleTimeout)],
        ] as const)),
  ]);
  compare({ scaling: wanted.scaling }, 'at-once', [
    ['scaling', scaling(live.scaling), scaling(wanted.scaling)],
  ]);
  compare({ dataCenterIds: wanted.dataCenterIds }, 'new-workers', [
    ['dataCenterIds', set(live.dataCenterIds), set(wanted.dataCenterIds)],
  ]);
  compare({ networkVolumes: wanted.networkVolumes }, 'new-workers', [
    ['networkVolumes', set(live.networkVolumes), set(wanted.networkVolumes)],
  ]);
  compare({ timeout: wanted.timeout }, 'at-once', [
    ['timeout', `${live.timeout} ms`, `${wanted.timeout} ms`],
  ]);
  compare({ flashboot: wanted.flashboot }, 'new-workers', [['flashboot', live.flashboot, wanted.flashboot]]);
  return { changes, update };
}

/** What a new endpoint will be, in the same words. */
export function creationChanges(wanted: ResolvedEndpoint): readonly FieldChange[] {
  const fields: [string, string | undefined][] = [
    ['name', wanted.name],
    ['image', wanted.image],
    ['disk', wanted.disk === undefined ? undefined : `${wanted.disk} GB`],
    ['registry', wanted.registry],
    ...Object.entries(wanted.env).map(([name, value]): [string, string] => [
      `env.${name}`,
      shown(name, value),
    ]),
    ['gpu.pools', set(wanted.gpu.pools)],
    ['gpu.excludedTypes', wanted.gpu.excludedTypes.length === 0 ? undefined : set(wanted.gpu.excludedTypes)],
    ['gpu.count', String(wanted.gpu.count)],
    ['workers.min', String(wanted.workers.min)],
    ['workers.max', String(wanted.workers.max)],
    [
      'workers.idleTimeout',
      wanted.workers.idleTimeout === undefined ? undefined : seconds(wanted.workers.idleTimeout),
    ],
    ['scaling', scaling(wanted.scaling)],
    ['dataCenterIds', set(wanted.dataCenterIds)],
    ['networkVolumes', set(wanted.networkVolumes)],
    ['timeout', `${wanted.timeout} ms`],
    ['flashboot', wanted.flashboot],
  ];
  return fields.flatMap(([field, to]) =>
    to === undefined ? [] : [{ field, from: NONE, to, effect: 'new-workers' as const }],
  );
}

const NONE = '(none)';

function variableChanges(wanted: ResolvedEndpoint, live: RunPodEndpoint): readonly FieldChange[] {
  const names = new Set([...Object.keys(wanted.env), ...(live.env?.names() ?? [])]);
  return [...names].sort().flatMap((name) => {
    const from = live.env?.get(name);
    const to = wanted.env[name];
    // Without a fingerprint of the repository's, the live one is neither compared nor a reason to write.
    if (name === OWN_VARIABLES.fingerprint && to === undefined) return [];
    if (comparable(from) === comparable(to)) return [];
    const words = [from, to].map((value) => (value === undefined ? NONE : shown(name, value)));
    const [before = NONE, after = NONE] = words;
    return [{ field: `env.${name}`, from: before, to: after, effect: 'workers-replaced' as const }];
  });
}

/** References differ in their spaces only. */
function comparable(value: string | undefined): string | undefined {
  const secret = value === undefined ? undefined : referencedSecret(value);
  return secret === undefined ? value : `{{RUNPOD_SECRET_${secret}}}`;
}

function shown(name: string, value: string): string {
  return OWN_NAMES.has(name) || referencedSecret(value) !== undefined ? value : '(hidden)';
}

function set(values: readonly string[] | undefined): string {
  return values === undefined || values.length === 0 ? NONE : [...new Set(values)].sort().join(', ');
}

function seconds(value: number | undefined): string {
  return value === undefined ? NONE : `${value} s`;
}

function scaling(value: ResolvedEndpoint['scaling'] | RunPodEndpoint['scaling']): string {
  if ('queueDelay' in value && typeof value.queueDelay === 'number')
    return `${value.type} ${value.queueDelay} s`;
  return 'requestCount' in value && typeof value.requestCount === 'number'
    ? `${value.type} ${value.requestCount}`
    : value.type;
}
