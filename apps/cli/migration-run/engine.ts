/** A folder that stands for ComfyUI's on both clouds: comfy-sim, which writes down each run of each job, and breaks when told to. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { z } from 'zod';

/** One side of a migration, as the engine knows where it runs. */
export type EngineSide = 'runpod' | 'modal';

const noted = z.object({
  event: z.enum(['start', 'end']),
  job: z.string(),
  side: z.enum(['runpod', 'modal']),
  completed: z.boolean().optional(),
});

/** What the engines did with one job. */
export interface EngineRuns {
  readonly started: number;
  readonly completed: number;
  readonly sides: ReadonlySet<EngineSide>;
}

/** The folder, and what was noted in it. */
export class NotedEngine {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /**
   * Makes the folder.
   *
   * @param source folder of the package comfy_sim.
   */
  static async make(folder: string, source: string): Promise<NotedEngine> {
    const engine = new NotedEngine(folder);
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, 'main.py'), mainProgram(source, folder));
    return engine;
  }

  /** From now on every job of a side fails at this node. */
  async breakNode(side: EngineSide, nodeClass: string): Promise<void> {
    await writeFile(this.#fault(side), nodeClass);
  }

  /** Ends that. */
  async mend(side: EngineSide): Promise<void> {
    await rm(this.#fault(side), { force: true });
  }

  /** Runs by job id. */
  runs(): ReadonlyMap<string, EngineRuns> {
    const found = new Map<string, { started: number; completed: number; sides: Set<EngineSide> }>();
    const log = path.join(this.folder, 'runs.jsonl');
    const lines = existsSync(log) ? readFileSync(log, 'utf8').split('\n') : [];
    for (const line of lines.filter((each) => each !== '')) {
      const { event, job, side, completed } = noted.parse(JSON.parse(line));
      const runs = found.get(job) ?? { started: 0, completed: 0, sides: new Set() };
      if (event === 'start') runs.started += 1;
      else runs.completed += completed === true ? 1 : 0;
      runs.sides.add(side);
      found.set(job, runs);
    }
    return found;
  }

  #fault(side: EngineSide): string {
    return path.join(this.folder, `fault-${side}`);
  }
}

/** A file is the one thing that containers of both clouds share with the run, whatever their network. */
function mainProgram(source: string, folder: string): string {
  return `"""comfy-sim, which notes when a prompt begins and ends, and fails where a file says so."""
import json, os, sys
sys.path.insert(0, ${JSON.stringify(source)})
from comfy_sim.executor import Executor
from comfy_sim.cli import main

FOLDER = ${JSON.stringify(folder)}
SIDE = "runpod" if "RUNPOD_POD_ID" in os.environ else "modal"

def note(**entry):
    with open(os.path.join(FOLDER, "runs.jsonl"), "ab", buffering=0) as file:
        file.write(json.dumps({"side": SIDE, **entry}).encode() + b"\\n")

execute = Executor._execute

def noted(self, item):
    note(event="start", job=item.prompt_id)
    try:
        with open(os.path.join(FOLDER, "fault-" + SIDE)) as file:
            self._faults.add("node-error=" + file.read())
    except FileNotFoundError:
        self._faults.clear()
    result = execute(self, item)
    note(event="end", job=item.prompt_id, completed=result[1]["completed"])
    return result

Executor._execute = noted
main()
`;
}
