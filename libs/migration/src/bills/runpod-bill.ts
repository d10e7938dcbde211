/** What RunPod billed for an endpoint and its network volumes. */
import type { RunPodManagement } from '@ryla/runpod-management';

import type { Bill, BillPart } from './bill.ts';
import type { BillingHours } from './billing-hours.ts';

/** What is asked, and of whom. */
export interface RunpodBillOptions {
  readonly client: Pick<RunPodManagement, 'serverlessBilling' | 'networkVolumeBilling'>;
  /** Id of the endpoint on RunPod. */
  readonly endpointId: string;
  /** Ids of the network volumes that it mounts. */
  readonly networkVolumes: readonly string[];
  readonly hours: BillingHours;
  readonly signal?: AbortSignal;
}

/**
 * Reads the bill by the hour: `/v2/billing/serverless` and, for each network volume, `/v2/billing/network-volumes`. A bill that cannot
 * be read says why.
 */
export async function runpodBill({
  client,
  endpointId,
  networkVolumes,
  hours: { from, to },
  signal,
}: RunpodBillOptions): Promise<Bill> {
  const window = {
    ...{ startTime: new Date(from), endTime: new Date(to), bucketSize: 'hour' as const },
    ...(signal === undefined ? {} : { signal }),
  };
  try {
    const { records } = await client.serverlessBilling({ ...window, endpointId });
    const own = records.filter((record) => record.serverlessId === endpointId);
    const sum = (valueOf: (record: (typeof own)[number]) => number): number =>
      own.reduce((total, record) => total + valueOf(record), 0);
    return {
      isKnown: true,
      source: 'RunPod, /v2/billing/serverless, by the hour',
      usd: sum(({ totalAmount }) => totalAmount),
      parts: told([
        { name: 'GPU', usd: sum(({ gpuAmount }) => gpuAmount) },
        { name: 'CPU', usd: sum(({ cpuAmount }) => cpuAmount) },
        { name: 'disk', usd: sum(({ diskAmount }) => diskAmount) },
        { name: 'fee', usd: sum(({ feeAmount }) => feeAmount) },
      ]),
      storage: await storage(client, networkVolumes, window),
      notes: [
        ...(networkVolumes.length === 0 ? [] : ['A volume stands in full at each endpoint that mounts it.']),
        ...(own.length === 0 ? [`RunPod has no bill of ${endpointId} in that time, or none yet.`] : []),
      ],
    };
  } catch (error) {
    signal?.throwIfAborted();
    return { isKnown: false, why: error instanceof Error ? error.message : String(error) };
  }
}

async function storage(
  client: RunpodBillOptions['client'],
  ids: readonly string[],
  window: Parameters<RunPodManagement['networkVolumeBilling']>[0],
): Promise<readonly BillPart[]> {
  const volumes: BillPart[] = [];
  for (const networkVolumeId of ids) {
    const { records } = await client.networkVolumeBilling({ ...window, networkVolumeId });
    const own = records.filter((record) => record.networkVolumeId === networkVolumeId);
    volumes.push({ name: networkVolumeId, usd: own.reduce((sum, record) => sum + record.totalAmount, 0) });
  }
  return volumes;
}

function told(parts: readonly BillPart[]): readonly BillPart[] {
  return parts.filter(({ usd }) => usd !== 0);
}
