"""A folder that stands for ComfyUI's: comfy-sim, writing down each run of each job."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SECONDS_PER_NODE = 0.2

MAIN = '''"""comfy-sim, which notes when a prompt begins and ends, and whether another process has it meanwhile."""
import json, os, sys
os.environ["COMFY_SIM_FAULTS"] = "slow={seconds}"
sys.path.insert(0, {source!r})
from comfy_sim.executor import Executor
from comfy_sim.cli import main

LOG = {log!r}

def note(**entry):
    with open(LOG, "ab", buffering=0) as file:
        file.write(json.dumps({{"pid": os.getpid(), **entry}}).encode() + b"\\n")

def alive(pid):
    try:
        with open(f"/proc/{{pid}}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False

def beside(job):
    open_runs = set()
    if os.path.exists(LOG):
        for line in open(LOG):
            entry = json.loads(line)
            if entry["job"] == job:
                (open_runs.add if entry["event"] == "start" else open_runs.discard)(entry["pid"])
    return [pid for pid in open_runs if alive(pid)]

execute = Executor._execute

def noted(self, item):
    note(event="start", job=item.prompt_id, beside=beside(item.prompt_id))
    result = execute(self, item)
    note(event="end", job=item.prompt_id, completed=result[1]["completed"])
    return result

Executor._execute = noted
main()
'''


@dataclass
class Runs:
    """What the engines did with one job."""

    started: int = 0
    completed: int = 0
    overlapped: int = 0


@dataclass
class NotedEngine:
    """The folder, and what was noted so far."""

    folder: Path
    runs: dict[str, Runs] = field(default_factory=dict[str, Runs])

    def write(self) -> None:
        """Makes the folder."""
        spec = find_spec("comfy_sim")
        if spec is None or spec.origin is None:
            raise SystemExit("comfy-sim is not installed: run this from the workspace (npm run test:kills).")
        self.folder.mkdir(parents=True)
        source = str(Path(spec.origin).parents[1])
        main = MAIN.format(seconds=SECONDS_PER_NODE, source=source, log=str(self.log))
        (self.folder / "main.py").write_text(main, encoding="utf-8")

    @property
    def log(self) -> Path:
        """One JSON object a line."""
        return self.folder / "runs.jsonl"

    def read(self) -> dict[str, Runs]:
        """Runs by job id."""
        found: dict[str, Runs] = {}
        for line in self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else ():
            entry: dict[str, Any] = json.loads(line)
            runs = found.setdefault(entry["job"], Runs())
            if entry["event"] == "start":
                runs.started += 1
                runs.overlapped += bool(entry["beside"])
            else:
                runs.completed += bool(entry["completed"])
        return found
