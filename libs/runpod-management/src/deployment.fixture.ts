/** Plan and apply against one local RunPod for a whole file of tests, empty before each of them. */
import { afterAll, beforeAll, beforeEach, expect } from 'vitest';

import { type ApplyReport, applyRunpod } from './apply.ts';
import type { RunPodManagement } from './client.ts';
import type { DesiredEndpoint } from './desired-endpoint.ts';
import { readRunpodLive } from './live-state.ts';
import { type LocalRunPod, startLocalRunPod } from './local-runpod.fixture.ts';
import { type PlanOptions, planRunpod, type RunPodPlan } from './plan.ts';

/** What the tests of a file work with. */
export interface Deployments {
  readonly cloud: LocalRunPod;
  readonly client: RunPodManagement;
  plan(desired: readonly DesiredEndpoint[], options?: PlanOptions): Promise<RunPodPlan>;
  deploy(...desired: readonly DesiredEndpoint[]): Promise<ApplyReport>;
  /** Deploys, forgets the requests of it, and returns the id. */
  deployed(desired: DesiredEndpoint): Promise<string>;
}

/** Starts the local RunPod before the tests of a file, and ends it after them. */
export function useDeployments(): Deployments {
  let started: { readonly cloud: LocalRunPod; readonly client: RunPodManagement } | undefined;
  const running = (): { readonly cloud: LocalRunPod; readonly client: RunPodManagement } =>
    started ?? expect.fail('used before the tests began');
  beforeAll(async () => {
    const cloud = await startLocalRunPod();
    started = { cloud, client: cloud.client() };
  });
  afterAll(async () => {
    await started?.client.close();
    await started?.cloud[Symbol.asyncDispose]();
  });
  beforeEach(() => running().cloud.reset());

  const deployments: Deployments = {
    get cloud() {
      return running().cloud;
    },
    get client() {
      return running().client;
    },
    plan: async (desired, options) =>
      planRunpod(desired, await readRunpodLive(running().client, desired), options),
    deploy: async (...desired) => applyRunpod(await deployments.plan(desired), running().client),
    deployed: async (desired) => {
      const report = await deployments.deploy(desired);
      expect(report).toMatchObject({ ok: true });
      await running().cloud.forgetRequests();
      return report.entries[0]?.id ?? expect.fail('no id');
    },
  };
  return deployments;
}

/** Fields that a plan changes, each `from → to`. */
export function changedFields(of: RunPodPlan): Record<string, string> {
  const changes = of.entries.flatMap((entry) => ('changes' in entry ? entry.changes : []));
  return Object.fromEntries(changes.map(({ field, from, to }) => [field, `${from} → ${to}`]));
}
