"""The `modal` command against the local control plane: what each subcommand does, and what is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from modal_cloud import Cloud


@dataclass(frozen=True)
class Step:
    """A command line, and a pattern that what it prints must contain (of an error, where it must fail)."""

    command: str
    shows: str = ""
    fails: bool = False
    lacks: str | None = None


STORIES = {
    "volume": [
        Step("volume create shelf --version 2", "shelf"),
        Step("volume create shelf", "already exists", fails=True),
        Step("volume list", "shelf"),
        Step("volume put shelf note.txt /a/note.txt", "Uploaded"),
        Step("volume put shelf note.txt /a/note.txt", "already exists", fails=True),
        Step("volume cp shelf a/note.txt a/copy.txt"),
        Step("volume cp shelf -r a b"),
        Step("volume ls shelf b --json", r"b/copy\.txt"),
        Step("volume get shelf b/copy.txt got.txt", "Finished"),
        Step("volume get shelf nothing.txt got.txt --force", "nothing", fails=True),
        Step("volume rm shelf b", "recursive", fails=True),
        Step("volume rm shelf -r b", "deleted"),
        Step("volume ls shelf", "a", lacks="b"),
        Step("volume rename shelf rack --yes"),
        Step("volume ls rack a", "note.txt"),
        Step("volume delete rack --yes"),
        Step("volume ls rack", "Volume 'rack' not found", fails=True),
    ],
    "secret": [
        Step("secret create keys A=1 B=2", "keys"),
        Step("secret create keys A=1", "already exists", fails=True),
        Step("secret create keys A=3 --force"),
        Step("secret list --json", "keys"),
        Step("secret delete keys --yes"),
        Step("secret list --json", lacks='"keys"'),
        Step("secret delete keys --yes", "not found", fails=True),
        Step("secret delete keys --yes --allow-missing"),
    ],
    "dict": [
        Step("dict create book"),
        Step("dict list", "book"),
        Step("dict get book nothing", "None"),
        Step("dict items sample-notes", "seen"),
        Step("dict clear book --yes"),
        Step("dict delete book --yes"),
        Step("dict get book nothing", "not found", fails=True),
    ],
    "queue": [
        Step("queue create line"),
        Step("queue list", "line"),
        Step("queue len line --total", "0"),
        Step("queue peek line"),
        Step("queue clear line --all --yes"),
        Step("queue delete line --yes"),
        Step("queue len line", "not found", fails=True),
    ],
    "environment": [
        Step("environment list --json", r'"main",\s+"web_suffix": "",\s+"image_builder_version": null'),
        Step("environment create dev", "created"),
        Step("environment create dev", "already exists", fails=True),
        Step("environment create safe --restricted", "does not emulate restricted", fails=True),
        Step("secret create -e dev only-dev A=1"),
        Step("volume create -e dev only-dev"),
        Step("secret list --json", lacks="only-dev"),
        Step(
            "environment update dev --set-name stage --set-web-suffix st --set-image-builder-version 2024.10"
        ),
        Step(
            "environment list --json",
            r'"stage",\s+"web_suffix": "st",\s+"image_builder_version": "2024.10",\s+"active": "False"',
        ),
        Step("secret list -e stage --json", "only-dev"),
        Step("volume ls -e stage only-dev"),
        Step("secret list -e dev", "Environment 'dev' not found", fails=True),
        Step("environment delete stage --yes", "deleted"),
        Step("environment delete main --yes", "default environment", fails=True),
        Step("environment list --json", "main", lacks="stage"),
    ],
    "account": [
        Step("token info", r"ak-local(.|\s)*local"),
        Step("profile current", "default"),
        Step("profile list", "local"),
        Step("workspace settings list", "main"),
    ],
    "refusals": [
        Step("container exec ta-0123456789abcdefghijkl -- ls", "not emulate commands in running", fails=True),
        Step("shell", "not emulate sandboxes", fails=True),
        Step("app stats sample", "not emulate metrics", fails=True),
        Step("billing summary", "not emulate billing summaries", fails=True),
        Step("app logs sampel", "sample", fails=True),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_commands(cloud: Cloud, story: str) -> None:
    (cloud.folder / "note.txt").write_text("a note")
    cloud.python("modal.Dict.from_name('sample-notes', create_if_missing=True)['seen'] = True")
    for step in STORIES[story]:
        done = cloud.client(*step.command.split())
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == step.fails, (step.command, said)
        assert re.search(step.shows, said), (step.command, said)
        assert step.lacks is None or not re.search(rf"\b{step.lacks}\b", said), (step.command, said)
    if story == "volume":
        assert (cloud.folder / "got.txt").read_text() == "a note"


def test_a_container_is_listed_read_and_stopped(cloud: Cloud) -> None:
    cloud.python("modal.Function.from_name('sample', 'shout').remote('hello')")
    container = cloud.containers("shout")[0]["id"]
    assert container in {item["container_id"] for item in cloud.listed("container", "list")}
    for arguments in ((), ("--all",)):
        assert "shouting hello" in cloud.client("container", "logs", container, *arguments).stdout
    assert cloud.client("container", "stop", container, "--yes").returncode == 0
    assert container not in {item["container_id"] for item in cloud.listed("container", "list")}
    assert "shouting hello" in cloud.client("container", "logs", container).stdout
    assert "shouting hello" in cloud.client("container", "logs", container, "--follow").stdout
    assert "already stopped" in cloud.client("container", "stop", container, "--yes").stderr


def test_containers_are_billed_by_app_and_resource_at_invented_prices(cloud: Cloud) -> None:
    cloud.python("modal.Function.from_name('sample', 'shout').remote('hello')")
    assert "invented" in cloud.client("billing", "rates").stdout
    (row,) = [
        row
        for row in cloud.listed("billing", "report", "--for", "today", "-r", "d", "--tag-names", "*")
        if row["description"] == "sample"
    ]
    assert float(row["cost"]) > 0
    assert row["environment"] == "main"
    resources = cloud.listed("billing", "report", "--for", "today", "-r", "h", "--show-resources")
    assert "CPU" in {row["resource"] for row in resources}
    assert cloud.listed("billing", "report", "--start", "2020-01-01", "--end", "2020-01-02") == []


def test_an_interrupted_input_runs_again_elsewhere(cloud: Cloud) -> None:
    code = """
key = 'interrupted'
notes = modal.Dict.from_name('sample-notes', create_if_missing=True)
notes.update({f'{key}-free': False})
call = modal.Function.from_name('sample', 'wait').spawn(key)
print(call.object_id)
"""
    call = cloud.python(code)
    wait = """
import time
notes = modal.Dict.from_name('sample-notes')
while notes.get('interrupted', 0) < 1: time.sleep(0.02)
"""
    cloud.python(wait)
    container = cloud.containers("wait")[0]["id"]
    assert cloud.client("container", "stop", container, "--yes").returncode == 0
    cloud.python(wait.replace("< 1", "< 2"))
    free = f"""
modal.Dict.from_name('sample-notes')['interrupted-free'] = True
print(modal.FunctionCall.from_id({call!r}).get())
"""
    assert cloud.python(free) == "2"


def test_app_versions(cloud: Cloud, tmp_path: Path) -> None:
    code = "import modal\napp = modal.App('versions')\n@app.function()\ndef answer():\n    return {}\n"
    ask = "print(modal.Function.from_name('versions', 'answer').remote())"
    for number in (1, 2):
        (tmp_path / "versions.py").write_text(code.format(number))
        done = cloud.client("deploy", str(tmp_path / "versions.py"), "--tag", f"t{number}")
        assert done.returncode == 0, done.stderr
    assert cloud.python(ask) == "2"
    for command in ("rollback versions", "rollover versions", "rollover versions --strategy recreate"):
        assert cloud.client("app", *command.split()).returncode == 0
        assert cloud.python(ask) == "1"
    history = cloud.listed("app", "history", "versions")
    assert [(entry["version"], entry["tag"]) for entry in history] == [
        ("v5", "t1"),
        ("v4", "t1"),
        ("v3", "t1"),
        ("v2", "t2"),
        ("v1", "t1"),
    ]
    assert history[0]["client"] == "1.6.4"
    info = cloud.listed("app", "info", "versions")
    assert (info["lifecycle"]["state"], info["lifecycle"]["version"]) == ("deployed", 5)
    assert list(info["functions"]) == ["answer"]
    wrong = cloud.client("app", "rollback", "versions", "v9")
    assert wrong.returncode != 0
    assert "no version 9" in wrong.stderr
    assert cloud.client("app", "stop", "versions", "--yes").returncode == 0
    states = [app["state"] for app in cloud.listed("app", "list") if app["description"] == "versions"]
    assert states == ["stopped"]
    assert "not deployed" in cloud.client("app", "rollback", "versions").stderr


def test_the_command_itself_works_as_a_process_of_its_own(cloud: Cloud) -> None:
    """Other tests fork a process that has imported the client already."""
    env = {**cloud.modal.environment(), "PATH": "", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "modal", "app", "list", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert '"sample"' in done.stdout
