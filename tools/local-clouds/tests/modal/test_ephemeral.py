"""Apps that live as long as their client, and containers that crash: by the real client, in a local Modal of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_clouds.modal import crash_loop, records
from local_clouds.modal.crash_loop import CrashLoop
from local_clouds.modal.records import AppRecord
from modal_cloud import Cloud, running
from modal_proto import api_pb2

HEARTBEAT_TIMEOUT = 5.0
BEAT = "0.2"
"""Seconds between two heartbeats of these tests' clients."""

APP = """
import os, time, modal
app = modal.App("fleeting")

@app.function()
def linger():
    time.sleep(3600)

@app.function()
def die(code):
    os._exit(code)

@app.local_entrypoint()
def main(what: str):
    try:
        (linger.remote if what == "linger" else die.remote)(*([] if what == "linger" else [7]))
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A local Modal that waits for a silent client for a moment only, and the app."""
    folder = tmp_path_factory.mktemp("modal")
    (folder / "fleeting.py").write_text(APP, encoding="utf-8")
    yield from running(folder, heartbeat_timeout=HEARTBEAT_TIMEOUT)


def until(holds: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_an_app_ends_when_its_client_is_killed(short: Cloud) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MODAL")}
    client = subprocess.Popen(
        [sys.executable, "-m", "modal", "run", "fleeting.py", "--what", "linger"],
        cwd=short.folder,
        env={**kept, **short.modal.environment(), "MODAL_HEARTBEAT_INTERVAL": BEAT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: any(container["running"] for container in short.containers("linger")))
        [app] = short.modal.state.apps.values()
        first = app.heartbeat
        until(lambda: app.heartbeat > first)
        assert client.poll() is None
        assert app.running
    finally:
        client.send_signal(signal.SIGKILL)
        client.wait()
    until(lambda: short.containers("linger") == [])
    assert not app.running
    until(lambda: short.state()["containers"] == [])


def test_only_an_app_that_lives_with_its_client_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(records.time, "monotonic", lambda: now[0])
    app = AppRecord("ap-1", "main", "x", api_pb2.APP_STATE_EPHEMERAL, heartbeat=now[0])
    now[0] += 60
    assert not app.is_abandoned(60)
    now[0] += 1
    assert app.is_abandoned(60)
    for state in (api_pb2.APP_STATE_DEPLOYED, api_pb2.APP_STATE_DETACHED, api_pb2.APP_STATE_STOPPED):
        app.state = state
        assert not app.is_abandoned(60)


def test_inputs_of_an_ephemeral_app_fail_after_a_few_crashes(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crash_loop, "PAUSES", (0.0,))
    script = tmp_path / "fleeting.py"
    script.write_text(APP, encoding="utf-8")
    done = cloud.client("run", str(script), "--what", "die")
    assert done.returncode == 0, done.stderr
    assert "ended with exit code 7 before the input was done" in done.stdout + done.stderr
    assert cloud.started("die") == crash_loop.EPHEMERAL_CRASHES


def test_a_crash_loop_slows_down_until_a_container_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(crash_loop.time, "monotonic", lambda: now[0])
    loop = CrashLoop()
    assert [loop.crashed() for _ in range(8)] == [0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 30.0, 30.0]
    assert loop.pausing()
    now[0] += 30
    assert not loop.pausing()
    assert (loop.is_over(deployed=True), loop.is_over(deployed=False)) == (False, True)
    loop.answered()
    assert (loop.crashed(), loop.is_over(deployed=False)) == (0.0, False)
