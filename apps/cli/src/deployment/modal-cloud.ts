/** Modal: one app for each endpoint, tagged with its fingerprint, through the real `modal` program. */
import { type Adapter, ComfyUIServiceError, modal as modalAdapter } from '@ryla/business';
import { gatewayLabel, type ResolvedConfig, variableName } from '@ryla/business/config';
import { readLocalClouds } from '@ryla/business/local-clouds';
import type { EndpointConfig } from '@ryla/workflow';

import type { Cloud, Deployed, LiveDeployment, Shipment } from './cloud.ts';
import { createModalCli, type ModalCli, printedUrl, type Variables } from './modal-cli.ts';
import { type ModalApp, type ModalRecords, type ModalVersion, startModalRecords } from './modal-records.ts';

/** Beginning of the names of our apps. */
const PREFIX = 'ryla-';

/** The app for workflows that are no endpoint: `modal deploy` without RYLA_ENDPOINT. */
const GENERIC_APP = 'ryla-comfyui';

/** A tag that a deploy gives: the hash of an Nx task, a decimal number of up to 64 bits. */
const FINGERPRINT = /^\d{5,20}$/;

/** Options of {@link createModalCloud}. */
export interface ModalCloudOptions {
  /** `root` is where the local clouds have left how they are reached. */
  readonly resolved: ResolvedConfig;
  /** Root of the workspace that is deployed. */
  readonly workspaceRoot: string;
  /** Modal environment; the account's default without it. */
  readonly environment?: string | undefined;
  /** The `modal` program; the workspace's own without it. */
  readonly cli?: ModalCli;
  /** What Modal says; asked of the account without it. */
  readonly records?: ModalRecords;
  /** Whether deployments will be tried with jobs, which needs credentials. */
  readonly smoke: boolean;
}

/**
 * Modal in one environment.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration` where the target cannot be reached as it is set up.
 */
export function createModalCloud(options: ModalCloudOptions): Cloud {
  const { resolved, workspaceRoot, smoke } = options;
  const variables = modalVariables(resolved, options.environment);
  const cli = options.cli ?? createModalCli(workspaceRoot, variables);
  const records = options.records ?? startModalRecords(workspaceRoot, variables);
  let listed: Promise<ModalApp[]> | undefined;
  let marks: Promise<Readonly<Record<string, string>>> | undefined;
  const listOnce = (): Promise<ModalApp[]> => (listed ??= records.apps());
  const listAnew = (): Promise<ModalApp[]> => (listed = records.apps());

  async function versions(endpoint: string, apps: readonly ModalApp[]): Promise<ModalVersion[]> {
    const app = apps.find(({ name }) => name === appName(endpoint));
    return app === undefined ? [] : records.history({ app: app.id });
  }

  /** The mark of an endpoint's deployment that nobody has tried. */
  async function markOf(endpoint: string): Promise<string | undefined> {
    return (await (marks ??= records.untried()))[endpoint];
  }

  return {
    provider: 'modal',
    environment: variables['MODAL_ENVIRONMENT'] ?? 'main',
    async managed() {
      return (await listOnce())
        .filter(({ name }) => name.startsWith(PREFIX) && name !== GENERIC_APP)
        .map(({ name }) => name.slice(PREFIX.length));
    },
    async live(endpoint, { anew } = { anew: false }) {
      if (appName(endpoint) === GENERIC_APP) return null;
      const [known, untried] = await Promise.all([
        listOnce().then((apps) => versions(endpoint, apps)),
        markOf(endpoint),
      ]);
      // The history is of now; only an app that is not in the list may have come since.
      const found = known.length === 0 && anew ? await versions(endpoint, await listAnew()) : known;
      return liveOf(found, untried);
    },
    drift: () => Promise.resolve([]),
    refusal: (shipment) => Promise.resolve(smoke ? missing(resolved, shipment) : undefined),
    async deploy(shipment, before, call): Promise<Deployed> {
      const { config } = shipment.endpoint;
      const { name } = config;
      const untried = await markOf(name);
      const history = before === null ? [] : await records.history({ name: appName(name) });
      const back = versionToGoBackTo(history, untried);
      const unmark = (): Promise<void> => records.unmark(name);
      const goBack = async (): Promise<string> => {
        const said = await undo(cli, name, back);
        await unmark();
        return said;
      };
      // Before it, since a process can be killed at any moment after it.
      if (smoke) await records.mark(name, shipment.fingerprint);
      const args = ['deploy', 'comfyui_app.py', '--tag', shipment.fingerprint];
      const printed = await cli
        .run(args, { ...call, env: { RYLA_ENDPOINT: name } })
        .catch(async (error: unknown) => {
          // One that was interrupted, or lost its connection, may have got as far as being live.
          const [now] = await versions(name, await listAnew());
          if (now === undefined || now.version === before?.version) {
            await (untried === undefined ? unmark() : records.mark(name, untried));
            throw error;
          }
          throw new Error(`${messageOf(error)}\nIt was live already, and is ${await goBack()}.`, {
            cause: error,
          });
        });
      const url = printedUrl(printed, gatewayLabel(config));
      const [latest] = await records.history({ name: appName(name) });
      return {
        version: latest?.version ?? null,
        url,
        adapter: () => adapterAt(url, resolved, config),
        accept: unmark,
        undo: goBack,
      };
    },
    async rollBack(endpoint, version, call) {
      const history = await versions(endpoint, await listAnew());
      if (history.length === 0) throw notDeployed(endpoint);
      const wanted = version ?? previousVersion(history, endpoint).version;
      await cli.run(['app', 'rollback', appName(endpoint), wanted], call);
      return (
        liveOf(await versions(endpoint, await listAnew()), undefined) ?? {
          fingerprint: null,
          commit: null,
          version: null,
        }
      );
    },
    async remove(endpoint, call) {
      await cli.run(['app', 'stop', appName(endpoint), '--yes'], call);
      listed = undefined;
    },
    [Symbol.asyncDispose]: () => records[Symbol.asyncDispose](),
  };
}

/** The newest version that was tried; null where none was. */
export function versionToGoBackTo(
  history: readonly ModalVersion[],
  untried: string | undefined,
): string | null {
  return history.find(({ tag }) => untried === undefined || tag !== untried)?.version ?? null;
}

/** The version before the live one that is another deployment: a rollback is itself a version. */
export function previousVersion(history: readonly ModalVersion[], endpoint: string): ModalVersion {
  const [live, ...older] = history;
  const found = older.find(({ tag }) => tag !== live?.tag) ?? older[0];
  if (found !== undefined) return found;
  throw new ComfyUIServiceError('invalid_configuration', `${endpoint} has no earlier version on Modal.`, {
    endpoint,
    hint: `\`ryla undeploy ${endpoint}\` stops it.`,
  });
}

function appName(endpoint: string): string {
  return `${PREFIX}${endpoint}`;
}

function liveOf([latest]: readonly ModalVersion[], untried: string | undefined): LiveDeployment | null {
  if (latest === undefined) return null;
  const { tag, commit, version } = latest;
  const fingerprint = tag !== null && FINGERPRINT.test(tag) ? tag : null;
  return {
    fingerprint,
    commit,
    version,
    ...(fingerprint !== null && fingerprint === untried ? { untried: true } : {}),
  };
}

async function undo(cli: ModalCli, endpoint: string, before: string | null): Promise<string> {
  if (before === null) {
    await cli.run(['app', 'stop', appName(endpoint), '--yes']);
    return 'stopped: nothing that was tried was live before';
  }
  await cli.run(['app', 'rollback', appName(endpoint), before]);
  return `rolled back to ${before}`;
}

/**
 * What `modal` is started with. Local clouds replace every setting that could lead to a real account; a real cloud refuses the
 * address of a machine's own stand-in.
 */
export function modalVariables(
  { root, target, env }: Pick<ResolvedConfig, 'root' | 'target' | 'env'>,
  environment: string | undefined,
): Variables {
  const chosen = environment === undefined ? {} : { MODAL_ENVIRONMENT: environment };
  if (target === 'local') {
    const clouds = readLocalClouds(root);
    return {
      ...env,
      MODAL_PROFILE: undefined,
      MODAL_ENVIRONMENT: undefined,
      ...clouds.environment,
      ...chosen,
    };
  }
  const server = env['MODAL_SERVER_URL'];
  if (server !== undefined && server !== '') {
    throw new ComfyUIServiceError(
      'invalid_configuration',
      `--target cloud is a real Modal account, but MODAL_SERVER_URL leads to ${server}.`,
      { hint: 'Unset MODAL_SERVER_URL.' },
    );
  }
  return { ...env, ...chosen };
}

/** Credentials of callers that the smoke job will need, known before anything is deployed. */
function missing(resolved: ResolvedConfig, { endpoint: { config } }: Shipment): string | undefined {
  if (resolved.target === 'local') return undefined;
  const names =
    config.providers.modal.auth === 'bearer'
      ? [variableName(resolved, 'bearerToken')]
      : [variableName(resolved, 'modalProxyKey'), variableName(resolved, 'modalProxySecret')];
  const absent = names.filter((name) => (resolved.env[name] ?? '') === '');
  return absent.length === 0
    ? undefined
    : `Its smoke job needs ${absent.join(' and ')} (docs/deploying.md says where they come from). --no-smoke deploys without a job.`;
}

function adapterAt(url: string | null, resolved: ResolvedConfig, config: EndpointConfig): Adapter {
  if (url === null) {
    throw new ComfyUIServiceError(
      'invalid_configuration',
      `\`modal deploy\` printed no address of ${gatewayLabel(config)}.`,
      { endpoint: config.name },
    );
  }
  const value = (name: 'modalProxyKey' | 'modalProxySecret' | 'bearerToken'): string =>
    resolved.env[variableName(resolved, name)] ?? '';
  const local = resolved.target === 'local' ? readLocalClouds(resolved.root) : undefined;
  const bearer = config.providers.modal.auth === 'bearer';
  if (local !== undefined) {
    const { proxyKey: key, proxySecret: secret } = local.modal;
    const token = local.environment['RYLA_API_TOKEN'] ?? '';
    return modalAdapter({
      baseUrl: withoutNames(url, local.modal.webUrl),
      auth: bearer ? { type: 'bearer', token } : { type: 'modal-proxy', key, secret },
    });
  }
  return modalAdapter({
    baseUrl: url,
    auth: bearer
      ? { type: 'bearer', token: value('bearerToken') }
      : { type: 'modal-proxy', key: value('modalProxyKey'), secret: value('modalProxySecret') },
  });
}

/** The local Modal's address that needs no name below `localhost` to resolve. */
function withoutNames(url: string, webUrl: string): string {
  return new URL(`/_w/${new URL(url).hostname.replace(/\.localhost$/, '')}`, webUrl).href;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function notDeployed(endpoint: string): ComfyUIServiceError {
  return new ComfyUIServiceError('invalid_configuration', `${endpoint} is not deployed on Modal.`, {
    endpoint,
    hint: `\`ryla deploy ${endpoint}\` deploys it.`,
  });
}
