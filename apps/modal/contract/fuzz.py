"""Generated requests, valid and not, by schemathesis."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from .service import TOKEN

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
)
"""Not positive_data_acceptance: a schema cannot say which graphs are workflows, so most of them are refused."""

SEED = 20261125


def fuzz(name: str, document: dict[str, Any], url: str, folder: Path, examples: int) -> tuple[int, bool]:
    """Runs the document against a server; how many requests there were, and whether all answers held."""
    schema, report = folder / f"{name}.json", folder / f"{name}.ndjson"
    schema.write_text(json.dumps(document), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(schema), "--url", url),
        *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
        *("--max-examples", str(examples), "--seed", str(SEED), "--continue-on-failure", "--warnings", "off"),
        *("--suppress-health-check", "all", "--request-timeout", "30"),
        *(
            "--header",
            f"Authorization: Bearer {TOKEN}",
            "--report",
            "ndjson",
            "--report-ndjson-path",
            str(report),
        ),
    ]
    done = subprocess.run(command, cwd=folder, check=False)
    return count(report), done.returncode == 0


def count(report: Path) -> int:
    """Requests that were answered, in schemathesis's own record of its run."""
    requests = 0
    with report.open(encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            recorder = event.get("ScenarioFinished", {}).get("recorder", {})
            requests += len(recorder.get("interactions", ()))
    return requests
