/** RunPod: one serverless endpoint for each endpoint, by plan and apply of libs/runpod-management. */
import { ComfyUIServiceError, runpod } from '@ryla/business';
import { type ResolvedConfig, variableName } from '@ryla/business/config';
import { readLocalClouds } from '@ryla/business/local-clouds';
import {
  type Adoption,
  adoptRunpod,
  applyRunpod,
  createRunPodManagement,
  deployedEndpoint,
  type DesiredEndpoint,
  desiredRunpodEndpoint,
  type LiveState,
  MAIN_ENVIRONMENT,
  ownershipOf,
  planAdoption,
  planRunpod,
  planRunpodRemoval,
  readRunpodEndpoints,
  readRunpodLive,
  restoreRunpod,
  rollBackRunpod,
  type RunPodEndpoint,
  type RunPodManagement,
  unmanagedEndpoint,
  waitForRollout,
} from '@ryla/runpod-management';
import { type EndpointConfig, inEnvironment } from '@ryla/workflow';

import type { AdoptionRecords } from './adoption-records.ts';
import type { Cloud, CloudOptions, Deployed, LiveDeployment, Shipment } from './cloud.ts';
import type { Reason } from './deployment-document.ts';
import { type Images, LIVE_IMAGE } from './runpod-images.ts';
import {
  FINGERPRINT,
  hasForeignImage,
  liveOf,
  OWN_FIELDS,
  reasonOf,
  RECORD,
  recordOf,
} from './runpod-record.ts';

/** A version: what was there before it was adopted. */
export const BEFORE_ADOPTION = 'before-adoption';

/** Options of {@link createRunPodCloud}. */
export interface RunPodCloudOptions {
  readonly resolved: ResolvedConfig;
  /** {@link MAIN_ENVIRONMENT} without it. */
  readonly environment?: string | undefined;
  readonly images: Images;
  readonly records: AdoptionRecords;
}

/**
 * RunPod in one environment.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration` where the target cannot be reached as it is set up.
 */
export function createRunPodCloud({
  resolved,
  environment,
  images,
  records,
}: RunPodCloudOptions): RunPodCloud {
  const account = accountOf(resolved);
  const client = createRunPodManagement({
    apiKey: account.apiKey,
    ...(account.managementUrl === undefined ? {} : { baseUrl: account.managementUrl }),
  });
  return new RunPodCloud(client, account, environment ?? MAIN_ENVIRONMENT, { images, records });
}

/** How a RunPod account is reached. */
export interface Account {
  readonly apiKey: string;
  readonly apiUrl?: string;
  readonly managementUrl?: string;
}

/**
 * The RunPod account of a target.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration` where it cannot be reached as it is set up.
 */
export function accountOf(resolved: ResolvedConfig): Account {
  if (resolved.target === 'local') {
    const { runpod: local, environment } = readLocalClouds(resolved.root);
    const managementUrl = environment['RUNPOD_MANAGEMENT_URL'];
    if (managementUrl === undefined)
      throw invalid('The local clouds have no RunPod management API.', 'Restart `npm run clouds`.');
    return { apiKey: local.apiKey, apiUrl: local.apiUrl, managementUrl };
  }
  const url = resolved.env['RUNPOD_MANAGEMENT_URL'];
  if (url !== undefined && url !== '')
    throw invalid(
      `--target cloud is a real RunPod account, but RUNPOD_MANAGEMENT_URL leads to ${url}.`,
      'Unset RUNPOD_MANAGEMENT_URL.',
    );
  const name = variableName(resolved, 'runpodApiKey');
  const apiKey = resolved.env[name] ?? '';
  if (apiKey === '')
    throw invalid(
      `--target cloud needs the environment variable ${name}.`,
      'docs/deploying.md says where its value comes from.',
    );
  return { apiKey };
}

/** RunPod in one environment: what every cloud does, and taking over what is there. */
export class RunPodCloud implements Cloud {
  readonly provider = 'runpod';
  readonly environment: string;
  readonly #client: RunPodManagement;
  readonly #account: Account;
  readonly #images: Images;
  readonly #records: AdoptionRecords;
  #listed: Promise<readonly RunPodEndpoint[]> | undefined;

  constructor(
    client: RunPodManagement,
    account: Account,
    environment: string,
    { images, records }: Pick<RunPodCloudOptions, 'images' | 'records'>,
  ) {
    this.#client = client;
    this.#account = account;
    this.environment = environment;
    this.#images = images;
    this.#records = records;
  }

  async managed(): Promise<readonly string[]> {
    return (await this.#list(false)).flatMap((one) => {
      const owner = ownershipOf(one);
      return owner?.environment === this.environment ? [owner.endpoint] : [];
    });
  }

  async live(endpoint: string, { anew } = { anew: false }): Promise<LiveDeployment | null> {
    const found = await this.#find(endpoint, anew);
    return found === undefined ? null : liveOf(found);
  }

  async foreign({ endpoint }: Shipment): Promise<readonly Reason[] | undefined> {
    const adoption = await this.adoption(endpoint.config);
    if (adoption === undefined || adoption.isManaged) return undefined;
    const { live, id, differences } = adoption;
    return [
      { input: 'live deployment', why: `${live.name} (${id}) was not made by ryla` },
      ...differences.map(reasonOf),
    ];
  }

  /**
   * What taking over what is live for an endpoint would mean; undefined where nothing is.
   *
   * @throws {RunPodManagementError} where it belongs to another endpoint, or several could be meant.
   */
  async adoption(config: EndpointConfig): Promise<Adoption | undefined> {
    const endpoints = await this.#list(false);
    const named = this.#asLive(config, undefined);
    const owned = deployedEndpoint(named, { endpoints });
    const found =
      owned === undefined
        ? unmanagedEndpoint(named, { endpoints })
        : endpoints.find(({ id }) => id === owned.id);
    if (found === undefined) return undefined;
    const desired = this.#asLive(config, found.image);
    return planAdoption(desired, await readRunpodLive(this.#client, [desired]));
  }

  /** Takes it over, and waits until its workers carry the marker. */
  async adopt(adoption: Adoption): Promise<void> {
    await adoptRunpod(adoption, this.#client);
    this.#listed = undefined;
    await waitForRollout(this.#client, adoption.id);
  }

  /** With the image that is live, so that only what was changed by hand differs. */
  async drift(shipment: Shipment): Promise<readonly { readonly input: string; readonly why: string }[]> {
    const { config } = shipment.endpoint;
    const found = await this.#find(config.name, false);
    if (found === undefined) return [];
    const [entry] = planRunpod([this.#desired(shipment, found)], await this.#state(shipment, found)).entries;
    if (entry?.action !== 'update') return [];
    return entry.changes.filter(({ field }) => !OWN_FIELDS.includes(field)).map(reasonOf);
  }

  async refusal(shipment: Shipment): Promise<string | undefined> {
    const { name } = shipment.endpoint.config;
    const found = await this.#find(name, false);
    const given = this.#images[name];
    if (given !== undefined && given !== LIVE_IMAGE) return undefined;
    if (
      found?.image !== undefined &&
      (given === LIVE_IMAGE || liveOf(found).fingerprint === shipment.fingerprint)
    )
      return undefined;
    return (
      `RunPod needs an image of it: build and push one, then give --image ${name}=<registry/name@sha256:…>, or --images <file>.` +
      (found === undefined
        ? ''
        : ` If only settings of endpoint.json changed, --image ${name}=live keeps the image.`)
    );
  }

  async deploy(shipment: Shipment, _before: LiveDeployment | null, call: CloudOptions): Promise<Deployed> {
    const { name } = shipment.endpoint.config;
    const found = await this.#find(name, true);
    const desired = this.#desired(shipment, found);
    const signal = call.signal === undefined ? {} : { signal: call.signal };
    const plan = planRunpod([desired], await readRunpodLive(this.#client, [desired], signal));
    const [entry] = (await applyRunpod(plan, this.#client, signal)).entries;
    this.#listed = undefined;
    if (entry?.error !== undefined) throw entry.error;
    const { id } = entry ?? {};
    if (entry === undefined || id === undefined) throw new Error(`RunPod gave no endpoint for ${name}.`);
    const undo = async (): Promise<string> => {
      await rollBackRunpod(entry, this.#client);
      return entry.outcome === 'created'
        ? 'deleted: nothing was live before'
        : 'its former image and settings are back';
    };
    try {
      await waitForRollout(this.#client, id, signal);
    } catch (cause) {
      throw new Error(`${messageOf(cause)} (${await undo()})`, { cause });
    }
    return {
      version: await this.#version(id),
      url: `${this.#account.apiUrl ?? 'https://api.runpod.ai/v2'}/${id}`,
      adapter: () =>
        runpod({
          endpointId: id,
          apiKey: this.#account.apiKey,
          ...(this.#account.apiUrl === undefined ? {} : { apiUrl: this.#account.apiUrl }),
        }),
      // What would record it is a variable of the endpoint, and a change of it starts every worker anew.
      accept: () => Promise.resolve(),
      undo,
    };
  }

  /** Only to the version before, or to before it was adopted: RunPod keeps no others. */
  async rollBack(
    endpoint: string,
    version: string | undefined,
    { signal }: CloudOptions,
  ): Promise<LiveDeployment> {
    if (version === BEFORE_ADOPTION) return await this.#giveBack(endpoint, signal);
    if (version !== undefined)
      throw invalid(
        'RunPod keeps only the version before.',
        `Leave --to away: \`ryla rollback ${endpoint} --provider runpod\`.`,
      );
    const found = await this.#find(endpoint, true);
    if (found === undefined)
      throw invalid(`${endpoint} is not deployed on RunPod.`, `\`ryla deploy ${endpoint}\` deploys it.`);
    const image = found.env?.get(RECORD.previousImage);
    if (image === undefined)
      throw invalid(`${endpoint} has no earlier image on RunPod.`, 'Deploy an earlier commit instead.');
    const { [RECORD.commit]: _commit, ...rest } = found.env?.reveal() ?? {};
    const env = {
      ...rest,
      [FINGERPRINT]: rest[RECORD.previousFingerprint] ?? '',
      [RECORD.previousImage]: found.image ?? '',
      [RECORD.previousFingerprint]: rest[FINGERPRINT] ?? '',
    };
    const call = signal === undefined ? {} : { signal };
    const made = await this.#client.updateEndpoint(found.id, { image, env }, call);
    await waitForRollout(this.#client, found.id, call);
    return { ...liveOf(made), version: await this.#version(found.id) };
  }

  /** Everything as it was, and nobody's: the marker goes with the other variables. */
  async #giveBack(endpoint: string, signal: AbortSignal | undefined): Promise<LiveDeployment> {
    const call = signal === undefined ? {} : { signal };
    const found = await this.#find(endpoint, true);
    if (found === undefined)
      throw invalid(
        `Ryla does not manage ${endpoint} on RunPod: nothing was changed.`,
        'It was given back already, or never adopted.',
      );
    const former = await this.#records.read({ endpoint, environment: this.environment });
    if (found.id !== former.id)
      throw invalid(
        `${endpoint} on RunPod is ${found.id}; what is kept is of ${former.id}.`,
        'The one that was adopted is another: look at both in RunPod’s console.',
      );
    const made = await restoreRunpod(former, this.#client, call);
    this.#listed = undefined;
    await waitForRollout(this.#client, former.id, call);
    return { ...liveOf(made), version: await this.#version(former.id) };
  }

  async remove(endpoint: string, { signal }: CloudOptions): Promise<void> {
    const live: LiveState = { endpoints: await this.#list(true) };
    const plan = planRunpodRemoval({ endpoint, environment: this.environment }, live);
    const report = await applyRunpod(plan, this.#client, signal === undefined ? {} : { signal });
    this.#listed = undefined;
    for (const { error } of report.entries) if (error !== undefined) throw error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }

  #list(anew: boolean): Promise<readonly RunPodEndpoint[]> {
    if (anew || this.#listed === undefined) this.#listed = readRunpodEndpoints(this.#client);
    return this.#listed;
  }

  async #find(endpoint: string, anew: boolean): Promise<RunPodEndpoint | undefined> {
    const endpoints = await this.#list(anew);
    const owned = deployedEndpoint({ endpoint, environment: this.environment }, { endpoints });
    return owned === undefined ? undefined : endpoints.find(({ id }) => id === owned.id);
  }

  async #state(shipment: Shipment, found: RunPodEndpoint): Promise<LiveState> {
    return readRunpodLive(this.#client, [this.#desired(shipment, found)]);
  }

  async #version(id: string): Promise<string | null> {
    const { endpointVersion, releases } = await this.#client.listReleases(id);
    const version = endpointVersion ?? releases[0]?.version;
    return version === null || version === undefined ? null : `v${version}`;
  }

  /** With the image that is live: what else differs. */
  #asLive(config: EndpointConfig, image: string | undefined): DesiredEndpoint {
    return desiredRunpodEndpoint(inEnvironment(config, this.environment), {
      image: image ?? '',
      keepImage: true,
      environment: this.environment,
    });
  }

  /** What shall be: the image that was given, or the live one; what was live before is part of the record. */
  #desired(shipment: Shipment, found: RunPodEndpoint | undefined): DesiredEndpoint {
    const { config } = shipment.endpoint;
    const given = this.#images[config.name];
    const sameCode = found !== undefined && liveOf(found).fingerprint === shipment.fingerprint;
    const isBuilt = sameCode && !hasForeignImage(found);
    const image = given === undefined || given === LIVE_IMAGE || isBuilt ? found?.image : given;
    const desired = desiredRunpodEndpoint(inEnvironment(config, this.environment), {
      image: image ?? '',
      keepImage: image !== undefined && image === found?.image,
      environment: this.environment,
      fingerprint: shipment.fingerprint,
    });
    return { ...desired, env: { ...desired.env, ...recordOf(shipment, found, sameCode) } };
  }
}

function invalid(message: string, hint: string): ComfyUIServiceError {
  return new ComfyUIServiceError('invalid_configuration', message, { hint });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
