/** Bills of RunPod and Modal for the endpoints of a report. */
import { existsSync } from 'node:fs';
import path from 'node:path';

import type { JobStore } from '@ryla/business';
import { openStore, stateFolder } from '@ryla/business/config';
import {
  type Bill,
  type BillingHours,
  billingHours,
  type EndpointBill,
  endpointBill,
  modalBill,
  modalBillArguments,
  runpodBill,
} from '@ryla/migration';
import { createRunPodManagement, type RunPodManagement } from '@ryla/runpod-management';

import { createModalCli, type ModalCli } from '../deployment/modal-cli.ts';
import { modalVariables } from '../deployment/modal-cloud.ts';
import { accountOf } from '../deployment/runpod-cloud.ts';
import type { Workspace } from '../workspace.ts';
import { comparing } from './comparing.ts';
import { onRunPod } from './runpod-ids.ts';

/** Whose bills, and of which time. */
export interface BillsOptions {
  /** Backends of both sides by endpoint. */
  readonly sides: ReadonlyMap<string, { readonly old: string; readonly new: string }>;
  readonly days: number;
  readonly signal: AbortSignal;
  /** Runs `modal`; the workspace's own program without it. */
  readonly cli?: ModalCli;
}

/** Reads both sides' bills of every endpoint. A bill that cannot be had says why, and keeps no other from being read. */
export async function readBills(
  workspace: Workspace,
  store: JobStore,
  { sides, days, signal, cli }: BillsOptions,
): Promise<readonly EndpointBill[]> {
  const hours = billingHours(days, Date.now());
  const asked = { workspace, hours, signal };
  const runpod = runpodReader(asked);
  const modal = modalReader(asked, cli);
  const apart = comparing(workspace);
  // Opening a store makes it.
  const hasApart = existsSync(path.join(stateFolder(apart), 'jobs.db'));
  await using compared = hasApart ? await openStore(apart) : undefined;
  try {
    const bills: EndpointBill[] = [];
    for (const [endpoint, backends] of sides)
      bills.push(
        await endpointBill({
          ...{ endpoint, backends, hours },
          stores: compared === undefined ? [store] : [store, compared],
          billOf: async (_side, backend) => {
            if (backend.startsWith('runpod:')) return await runpod.billOf(endpoint);
            if (backend.startsWith('modal:')) return await modal.billOf(endpoint);
            return { isKnown: false, why: `bills are read of RunPod and Modal, not of ${backend}.` };
          },
        }),
      );
    return bills;
  } finally {
    await runpod.close();
  }
}

interface Asked {
  readonly workspace: Workspace;
  readonly hours: BillingHours;
  readonly signal: AbortSignal;
}

function runpodReader({ workspace, hours, signal }: Asked): {
  billOf(endpoint: string): Promise<Bill>;
  close(): Promise<void>;
} {
  let client: RunPodManagement | undefined;
  const opened = (): RunPodManagement => {
    const { apiKey, managementUrl } = accountOf(workspace);
    return (client ??= createRunPodManagement({
      apiKey,
      ...(managementUrl === undefined ? {} : { baseUrl: managementUrl }),
    }));
  };
  return {
    async billOf(endpoint) {
      const described = onRunPod(workspace, endpoint);
      // On the local RunPod an endpoint's name is its id where endpoint.json has none.
      const endpointId = described?.endpointId ?? (workspace.target === 'local' ? endpoint : undefined);
      if (endpointId === undefined)
        return { isKnown: false, why: `its endpoint.json names no providers.runpod.endpointId.` };
      return await orWhy(signal, async () => {
        const asked = { client: opened(), endpointId, hours, signal };
        const networkVolumes = await volumeIds(asked.client, described?.networkVolumes ?? [], signal);
        return await runpodBill({ ...asked, networkVolumes });
      });
    },
    close: async () => client?.close(),
  };
}

/** endpoint.json may name a volume by its name. */
async function volumeIds(
  client: RunPodManagement,
  named: readonly string[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (named.length === 0) return [];
  const volumes = await client.listNetworkVolumes({ signal });
  return volumes.filter(({ id, name }) => named.includes(id) || named.includes(name)).map(({ id }) => id);
}

function modalReader(
  { workspace, hours, signal }: Asked,
  given: ModalCli | undefined,
): { billOf(endpoint: string): Promise<Bill> } {
  let printed: Promise<string> | undefined;
  return {
    billOf: (endpoint) =>
      orWhy(signal, async () => {
        const variables = modalVariables(workspace, undefined);
        const cli = given ?? createModalCli(workspace.root, variables);
        // One report has every app.
        printed ??= cli.run(modalBillArguments(hours), { signal });
        return modalBill(await printed, `ryla-${endpoint}`, variables['MODAL_ENVIRONMENT']);
      }),
  };
}

async function orWhy(signal: AbortSignal, read: () => Promise<Bill>): Promise<Bill> {
  try {
    return await read();
  } catch (error) {
    signal.throwIfAborted();
    return { isKnown: false, why: error instanceof Error ? error.message : String(error) };
  }
}
