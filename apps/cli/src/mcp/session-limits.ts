import { ComfyUIServiceError, hasEnded, type JobRecord } from '@ryla/business';

/** What the jobs of one `ryla mcp` may be together. */
export interface SessionLimitsOptions {
  readonly maxJobs?: number | undefined;
  /** US dollars. */
  readonly maxUsd?: number | undefined;
}

/** Limits on the jobs that agents start while one `ryla mcp` runs, whoever is connected. */
export interface SessionLimits {
  /**
   * Counts a job that is about to be submitted, with what it may cost.
   *
   * @param expectedUsd US dollars; undefined where no price is known.
   * @param look reads what is stored of a job.
   * @throws {ComfyUIServiceError} `spend_limit_reached`.
   */
  reserve(
    jobId: string,
    expectedUsd: number | undefined,
    look: (jobId: string) => Promise<JobRecord | undefined>,
  ): Promise<void>;
  /** Takes back a job that was not stored. */
  giveBack(jobId: string): void;
  /** What was started so far. */
  readonly started: number;
  /** US dollars so far: what jobs cost, and what is set aside for those whose cost is not known yet. */
  readonly usd: number;
}

interface Counted {
  usd: number;
  settled: boolean;
}

/** Makes the limits of a session. */
export function createSessionLimits({ maxJobs, maxUsd }: SessionLimitsOptions): SessionLimits {
  const jobs = new Map<string, Counted>();
  const total = (): number => [...jobs.values()].reduce((sum, { usd }) => sum + usd, 0);

  async function settle(look: (jobId: string) => Promise<JobRecord | undefined>): Promise<void> {
    for (const [id, job] of jobs) {
      if (job.settled) continue;
      const record = await look(id);
      if (record === undefined || !hasEnded(record)) continue;
      job.settled = true;
      // What ended without a known cost may have cost what was set aside for it.
      if (record.submission === 'refused') job.usd = 0;
      else if (record.cost !== null) job.usd = record.cost.usd;
    }
  }

  return {
    async reserve(jobId, expectedUsd, look) {
      if (maxUsd !== undefined) await settle(look);
      // From here on nothing waits: calls at the same time count for each other.
      if (maxJobs !== undefined && jobs.size >= maxJobs) {
        throw refused(
          `This session may start ${maxJobs} ${maxJobs === 1 ? 'job' : 'jobs'}, and has.`,
          'A person can start ryla mcp again, with a higher --max-jobs.',
        );
      }
      if (maxUsd !== undefined) {
        if (expectedUsd === undefined) {
          throw refused(
            'What this job may cost is not known, so that --max-cost could not be kept.',
            "The price tables lack the endpoint's GPU; start ryla mcp without --max-cost, or choose another GPU.",
          );
        }
        const would = total() + expectedUsd;
        if (would > maxUsd + 1e-9) {
          throw refused(
            `This session may spend $${maxUsd.toFixed(2)}; with this job it could be $${would.toFixed(4)}.`,
            'A person can start ryla mcp again, with a higher --max-cost.',
          );
        }
      }
      jobs.set(jobId, { usd: expectedUsd ?? 0, settled: false });
    },
    giveBack: (jobId) => {
      jobs.delete(jobId);
    },
    get started() {
      return jobs.size;
    },
    get usd() {
      return total();
    },
  };
}

function refused(message: string, hint: string): ComfyUIServiceError {
  return new ComfyUIServiceError('spend_limit_reached', message, { hint, accepted: 'no' });
}
