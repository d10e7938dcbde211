"""A local Modal in a process of its own, and the real `modal` command against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

APP = Path(__file__).resolve().parents[1]
LOCAL_CLOUDS = Path(sys.executable).with_name("local-clouds")
needs_local_clouds = pytest.mark.skipif(not LOCAL_CLOUDS.exists(), reason="local-clouds is not installed")


@dataclass
class LocalModal:
    """A local Modal and how to reach it."""

    document: dict[str, Any]

    @property
    def web(self) -> str:
        return self.document["modal"]["webUrl"]

    def modal(self, *arguments: str, cwd: Path = APP, **environ: str) -> subprocess.CompletedProcess[str]:
        """Runs the real `modal` command."""
        env = {**os.environ, **self.document["environment"], "NO_COLOR": "1", **environ}
        env.pop("FORCE_COLOR", None)  # task runners set it, and rich would colour even JSON
        command = [sys.executable, "-m", "modal", *arguments]
        return subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False
        )

    def url(self, label: str) -> str:
        return f"{self.web}/_w/{self.document['modal']['workspace']}--{label}"

    def client(self, label: str, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url(label), headers=headers, timeout=60, follow_redirects=True)

    @property
    def proxy_auth(self) -> dict[str, str]:
        return {
            "Modal-Key": self.document["modal"]["proxyKey"],
            "Modal-Secret": self.document["modal"]["proxySecret"],
        }

    def started(self, app: str, function: str = "") -> int:
        """Containers that were ever started for an app."""
        state = httpx.get(f"{self.web}/_local/state").json()
        return sum(
            entry["containersStarted"]
            for entry in state["functions"]
            if entry["app"] == app and function in entry["function"]
        )

    def containers(self, app: str) -> list[dict[str, Any]]:
        state = httpx.get(f"{self.web}/_local/state").json()
        return [entry for entry in state["containers"] if entry["app"] == app]

    def app(self, name: str) -> dict[str, Any]:
        """What was deployed."""
        response = httpx.get(f"{self.web}/_local/apps/{name}")
        response.raise_for_status()
        return response.json()


def running(folder: Path, **environ: str) -> Iterator[LocalModal]:
    """Runs local clouds until the test is done; `folder / "log"` has what its containers print."""
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [LOCAL_CLOUDS, "--state-dir", folder / "state", "--until-eof"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "COMFY_SIM_MODEL_LOAD_MS": "0", **environ},
        )
        try:
            assert child.stdout is not None
            yield LocalModal(json.loads(child.stdout.readline()))
        finally:
            child.terminate()
            child.communicate(timeout=30)
