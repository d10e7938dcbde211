"""A local Modal in a thread of its own, and the real client in child processes and in this one."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from local_clouds import cli
from local_clouds.modal import LocalModal, ModalSettings
from local_clouds.modal.call_history import Retention
from local_clouds.modal.launcher import ContainerSettings
from local_clouds.modal.scheduler import HEARTBEAT_TIMEOUT

SAMPLE = Path(__file__).with_name("sample_app.py")
PROXY = {"Modal-Key": "wk-local", "Modal-Secret": "ws-local"}


@dataclass
class Run:
    """How a run of the client ended."""

    returncode: int
    stdout: str
    stderr: str


class Client:
    """The real client; see forked_client.py."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked_client.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, arguments: tuple[str, ...], script: Path | None, cwd: Path, env: dict[str, str]) -> Run:
        job = {"argv": arguments, "script": str(script or ""), "cwd": str(cwd), "env": env}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        return Run(answer["code"], answer["out"], answer["err"])

    def stop(self) -> None:
        self._process.communicate(timeout=10)


@dataclass
class Cloud:
    """A running local Modal, as tests see it."""

    modal: LocalModal
    folder: Path
    forked: Client

    def client(self, *arguments: str, script: Path | None = None, **environ: str) -> Run:
        """Runs the `modal` command, or a Python script, as a user would."""
        # FORCE_COLOR, which task runners set, colours even `--json`.
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("MODAL") and name != "FORCE_COLOR"
        }
        env = {**kept, **self.modal.environment(), "NO_COLOR": "1", "COLUMNS": "200", **environ}
        return self.forked.run(arguments, script, self.folder, env)

    def listed(self, *arguments: str) -> Any:
        """What a command prints with `--json`."""
        done = self.client(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def python(self, code: str) -> str:
        """Runs some lines against the deployed app with the real SDK."""
        script = self.folder / "script.py"
        script.write_text("import modal\nWorker = modal.Cls.from_name('sample', 'Worker')\n" + code)
        done = self.client(script=script)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def web(
        self, method: str, path: str, label: str = "local--sample-api", **arguments: Any
    ) -> httpx.Response:
        """One request; where an answer takes longer than the web timeout (a cold start), its 303 is followed."""
        url = f"{self.modal.web_url}/_w/{label}{path}"
        return httpx.request(
            method, url, timeout=30, **{"headers": PROXY, "follow_redirects": True, **arguments}
        )

    def state(self) -> Any:
        return httpx.get(f"{self.modal.web_url}/_local/state").json()

    def fault(self, *specs: str) -> None:
        httpx.put(f"{self.modal.web_url}/_local/faults", json=list(specs)).raise_for_status()

    def containers(self, function: str) -> list[Any]:
        return [
            c for c in self.state()["containers"] if c["function"].startswith(function) and not c["stopping"]
        ]

    def started(self, function: str) -> int:
        return sum(
            f["containersStarted"] for f in self.state()["functions"] if f["function"].startswith(function)
        )


def running(
    folder: Path,
    retention: Retention | None = None,
    heartbeat_timeout: float = HEARTBEAT_TIMEOUT,
    **settings: Any,
) -> Iterator[Cloud]:
    """Runs a local Modal in a thread until the test is done."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout=60)

    python = cli.container_python(os.environ)
    containers = ContainerSettings(python, {}, cli.keep_visible(python, {}), **settings)

    async def make() -> LocalModal:
        made = LocalModal(
            ModalSettings(
                folder / "state",
                containers,
                web_timeout=1.5,
                heartbeat_timeout=heartbeat_timeout,
                retention=retention or Retention(),
            ),
            lambda line: None,
        )
        await made.start()
        return made

    modal = wait(make())
    client = Client()
    try:
        yield Cloud(modal, folder, client)
    finally:
        client.stop()
        wait(modal.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


KEPT = 40
"""Finished calls that the tests' Modal keeps."""


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A local Modal with the sample app deployed by `modal deploy`."""
    for made in running(tmp_path_factory.mktemp("modal"), Retention(calls=KEPT)):
        secret = made.client("secret", "create", "sample-secret", "SECRET_VALUE=hush")
        assert secret.returncode == 0, secret.stderr
        deployed = made.client("deploy", str(SAMPLE), "--tag", "v1")
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        yield made
