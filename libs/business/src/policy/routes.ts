import { hash } from 'node:crypto';

import { ComfyUIServiceError } from '../errors.ts';

/** Parts into which the keys of an endpoint's jobs are sorted: weights count to a hundredth of a per cent. */
export const BUCKETS = 10_000;

/** A backend of a route. */
export interface RouteTarget {
  readonly backend: string;
  /** Its share of new jobs, in proportion to the other weights; 0 for none. */
  readonly weight: number;
  /**
   * Whether it takes jobs that another backend surely did not accept. When absent, it does if it has a share: a backend
   * that is to get nothing yet gets nothing by accident either.
   */
  readonly failover?: boolean;
}

/** Where the new jobs of an endpoint go: backends in the order in which they are tried when one does not accept. */
export type Route = readonly RouteTarget[];

/** Routes by endpoint, and one for those that have none and for bare workflows. */
export interface RouteTable {
  readonly default: Route;
  readonly endpoints?: Readonly<Record<string, Route>>;
}

/** The bucket of a job key (0 to 9,999); stable across processes and releases. */
export function bucketOf(endpoint: string | undefined, key: string): number {
  const digest = hash('sha256', JSON.stringify([endpoint ?? null, key]), 'buffer');
  return digest.readUIntBE(0, 6) % BUCKETS;
}

/**
 * The place in the route of the backend of every bucket. Shares are exact to one bucket. Changing a weight moves only
 * buckets to or from that backend and no more than the shares ask for; with three backends and more, up to about 1 % of the
 * buckets in addition.
 *
 * Weighted rendezvous hashing (Thaler and Ravishankar, 1998), then the buckets that were
 * nearest to going elsewhere evened out.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration`.
 */
export function assignBuckets(route: Route): Uint16Array {
  checkRoute(route);
  const quotas = quotasOf(route);
  const scores = route.map(({ backend, weight }) => scoresOf(backend, weight));
  const assigned = new Uint16Array(BUCKETS);
  const counts = route.map(() => 0);
  for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
    let best = 0;
    for (let place = 1; place < scores.length; place += 1) {
      if (score(scores, place, bucket) < score(scores, best, bucket)) best = place;
    }
    assigned[bucket] = best;
    counts[best] = (counts[best] ?? 0) + 1;
  }
  evenOut(assigned, counts, quotas, scores);
  return assigned;
}

/** Backends to try for a job, in order: the one of its bucket, then those that take over. */
export function tryOrder(route: Route, chosen: number): readonly string[] {
  const others = route.filter(({ weight, failover }, place) => place !== chosen && (failover ?? weight > 0));
  const first = route[chosen];
  return [...(first === undefined ? [] : [first]), ...others].map(({ backend }) => backend);
}

/** The routes of a service; they may change while it runs. */
export interface Routes {
  /** Backends to try for a new job, in order. The same key goes to the same backend until the shares move it. */
  backendsFor(endpoint: string | undefined, key: string): readonly string[];
  /** The routes now. */
  readonly table: RouteTable;
  /**
   * Changes all routes at once, for new jobs only; nothing is changed when one is wrong.
   *
   * @throws {ComfyUIServiceError} `invalid_configuration`.
   */
  replace(table: RouteTable): void;
  /** Changes one endpoint's route; undefined gives it the default one again. */
  set(endpoint: string, route: Route | undefined): void;
  /** Hears of every change; what it returns ends that. */
  subscribe(listener: (table: RouteTable) => void): () => void;
}

interface Compiled {
  readonly route: Route;
  readonly assigned: Uint16Array;
  /** What all jobs get where only one backend has a share; undefined where the bucket decides. */
  readonly always: readonly string[] | undefined;
}

/** Holds routes. */
export function createRoutes(initial: RouteTable): Routes {
  const listeners = new Set<(table: RouteTable) => void>();
  let table = initial;
  let compiled = compile(initial);

  const routes: Routes = {
    backendsFor(endpoint, key) {
      const of = (endpoint === undefined ? undefined : compiled.endpoints.get(endpoint)) ?? compiled.default;
      return of.always ?? tryOrder(of.route, of.assigned[bucketOf(endpoint, key)] ?? 0);
    },
    get table() {
      return table;
    },
    replace(next) {
      compiled = compile(next);
      table = next;
      for (const listener of [...listeners]) listener(next);
    },
    set(endpoint, route) {
      const others = Object.entries(table.endpoints ?? {}).filter(([name]) => name !== endpoint);
      const own: readonly (readonly [string, Route])[] = route === undefined ? [] : [[endpoint, route]];
      routes.replace({ default: table.default, endpoints: Object.fromEntries([...others, ...own]) });
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  return routes;
}

function compile(table: RouteTable): {
  readonly default: Compiled;
  readonly endpoints: ReadonlyMap<string, Compiled>;
} {
  const whole = (route: Route): Compiled => {
    const assigned = assignBuckets(route);
    const isAlone = route.filter(({ weight }) => weight > 0).length === 1;
    return { route, assigned, always: isAlone ? tryOrder(route, assigned[0] ?? 0) : undefined };
  };
  const endpoints = Object.entries(table.endpoints ?? {}).map(([name, route]): [string, Compiled] => [
    name,
    whole(route),
  ]);
  return { default: whole(table.default), endpoints: new Map(endpoints) };
}

function checkRoute(route: Route): void {
  const names = route.map(({ backend }) => backend);
  const wrong =
    route.some(({ weight }) => !Number.isFinite(weight) || weight < 0) ||
    !route.some(({ weight }) => weight > 0) ||
    new Set(names).size !== names.length;
  if (!wrong) return;
  const shown = route.map(({ backend, weight }) => `${backend}: ${weight}`).join(', ');
  throw new ComfyUIServiceError('invalid_configuration', `A route cannot be {${shown}}.`, {
    hint: 'Name every backend once, with a weight of 0 or more; at least one must be more than 0.',
  });
}

/** Buckets that each backend is to have: rounded down, and the rest to the largest remainders. */
function quotasOf(route: Route): number[] {
  const whole = route.reduce((sum, { weight }) => sum + weight, 0);
  const exact = route.map(({ weight }) => (weight / whole) * BUCKETS);
  const quotas = exact.map(Math.floor);
  const rest = BUCKETS - quotas.reduce((sum, quota) => sum + quota, 0);
  const byRemainder = exact
    .map((value, place) => ({ place, remainder: value - Math.floor(value) }))
    .sort((a, b) => b.remainder - a.remainder || a.place - b.place);
  for (const { place } of byRemainder.slice(0, rest)) quotas[place] = (quotas[place] ?? 0) + 1;
  return quotas;
}

/** Moves buckets from backends that have too many to those that have too few; first those that were nearest to it. */
function evenOut(
  assigned: Uint16Array,
  counts: number[],
  quotas: readonly number[],
  scores: readonly Float64Array[],
): void {
  const excess = (place: number): number => (counts[place] ?? 0) - (quotas[place] ?? 0);
  const places = scores.map((_, place) => place);
  const short = places.filter((place) => excess(place) < 0);
  const moves: { readonly bucket: number; readonly to: number; readonly cost: number }[] = [];
  for (const [bucket, from] of assigned.entries()) {
    if (excess(from) <= 0) continue;
    for (const to of short)
      moves.push({ bucket, to, cost: score(scores, to, bucket) / score(scores, from, bucket) });
  }
  moves.sort((a, b) => a.cost - b.cost || a.bucket - b.bucket);
  for (const { bucket, to } of moves) {
    const from = assigned[bucket] ?? 0;
    if (excess(from) <= 0 || excess(to) >= 0) continue;
    assigned[bucket] = to;
    counts[from] = (counts[from] ?? 0) - 1;
    counts[to] = (counts[to] ?? 0) + 1;
  }
}

function score(scores: readonly Float64Array[], place: number, bucket: number): number {
  return scores[place]?.[bucket] ?? Infinity;
}

/** A backend's bid for every bucket: the lowest wins, and the more weight, the lower. */
function scoresOf(backend: string, weight: number): Float64Array {
  const seed = hash('sha256', backend, 'buffer').readInt32BE(0);
  return Float64Array.from({ length: BUCKETS }, (_, bucket) => {
    const uniform = (mix(seed ^ mix(Math.imul(bucket + 1, 0x9e3779b1))) + 0.5) / 2 ** 32;
    return -Math.log(uniform) / weight;
  });
}

/** Finaliser of MurmurHash3: every bit of the result depends on every bit of the number. */
function mix(number: number): number {
  let mixed = number;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
