/** What a deploy needs of a cloud. */
import type { Adapter } from '@ryla/business';
import type { Provider } from '@ryla/business/config';
import type { EndpointDefinition } from '@ryla/workflow';

import type { Reason } from './deployment-document.ts';

/** What is live of an endpoint, read back from its cloud. */
export interface LiveDeployment {
  /** Null where what is live was not deployed by ryla. */
  readonly fingerprint: string | null;
  /** Commit of the deployer's checkout, abbreviated; null where the cloud was not told. */
  readonly commit: string | null;
  /** As the cloud names it, such as `v3`; changes with every deployment. */
  readonly version: string | null;
  /** Whether the run that deployed it ended before its small job did. */
  readonly untried?: boolean;
}

/** What a deployment is made of. */
export interface Shipment {
  readonly endpoint: EndpointDefinition;
  readonly fingerprint: string;
  /** Commit that is checked out; null outside a repository. */
  readonly commit: string | null;
}

/** A deployment that was just made, and the way back from it. */
export interface Deployed {
  readonly version: string | null;
  /** Address of its gateway or job API. */
  readonly url: string | null;
  /** How jobs reach it. */
  readonly adapter: () => Adapter;
  /** Records that its small job succeeded. */
  readonly accept: () => Promise<void>;
  /** Undoes it: the version before is live again, or nothing where nothing was. Says which. */
  readonly undo: () => Promise<string>;
}

/** Options of what takes time. */
export interface CloudOptions {
  readonly signal?: AbortSignal;
  /** Hears what the cloud's own tools say, line by line. */
  readonly onLog?: (line: string) => void;
}

/** One cloud in one environment. Everything is per endpoint, so that one failure stops no other. */
export interface Cloud extends AsyncDisposable {
  readonly provider: Provider;
  /** Environment in words; `main` is the default one. */
  readonly environment: string;
  /** Names of all endpoints that are live, whether they are in the repository or not. Reads once. */
  managed(): Promise<readonly string[]>;
  /** What is live; null where nothing is. `anew`: as it is now, whatever was read before. */
  live(endpoint: string, options?: { readonly anew: boolean }): Promise<LiveDeployment | null>;
  /** Why what is live is not ryla's to deploy to, and what a deploy would change; undefined where nothing like that is live. */
  foreign?(shipment: Shipment): Promise<readonly Reason[] | undefined>;
  /** Further reasons to deploy although the fingerprints are equal: settings that were changed by hand. */
  drift(shipment: Shipment): Promise<readonly Reason[]>;
  /** Why a deployment would be refused, before anything is changed; undefined when it would not. */
  refusal(shipment: Shipment): Promise<string | undefined>;
  /** Deploys in place of `before` and waits until new jobs get what was deployed. */
  deploy(shipment: Shipment, before: LiveDeployment | null, options: CloudOptions): Promise<Deployed>;
  /** Makes an earlier version live again; the one before without a version. Returns what is live then. */
  rollBack(endpoint: string, version: string | undefined, options: CloudOptions): Promise<LiveDeployment>;
  /** Removes a deployment: no address, no workers, no costs. */
  remove(endpoint: string, options: CloudOptions): Promise<void>;
}
