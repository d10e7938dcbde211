"""What stands behind `npx nx run <endpoint>:lock`: requirements of ComfyUI and the custom nodes, locked by uv.

Writes requirements/<node>.txt beside endpoint.json for each custom node, and where they are not there yet,
comfyui.txt and worker.txt of its ComfyUI version beside this program, which all endpoints share. Each is with hashes,
for the image's Python on Linux, and holds what ComfyUI's and those of the nodes before it lack, so that each can be a
layer of its own. Packages are those of the time of the source they are for: an old ComfyUI with the newest of
everything often does not start.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from comfy_worker.registry_node import RegistryError, fetch, unpack
from ryla_modal.endpoint_document import InvalidEndpoint, read_document
from ryla_modal.images import PYTHON_VERSION
from ryla_modal.requirements_lock import COMFYUI, FOLDER, MARK, TOOLS, WORKER, Lock, base_lock, node_lock
from ryla_modal.settings import Places, Settings

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
COMFYUI_REPOSITORY = "https://github.com/comfyanonymous/ComfyUI"
READ = ("*.txt", "pyproject.toml", "setup.py", "setup.cfg")
"""Files of a repository that are fetched: those that can say what it needs."""

LATER = timedelta(days=7)
"""After a commit: packages that were released until then are taken, so that first repairs are in."""

Pins = dict[str, str]
"""`name==version` by package: what earlier lock files hold."""


class LockFailed(Exception):
    """The requirements cannot be locked; the message says of which source and why."""


@dataclass(frozen=True)
class Source:
    """Code, and when it was committed or published; None where nobody says when."""

    requirements: Path
    committed: datetime | None


def lock(folder: Path, exclude_newer: str | None = None) -> Iterator[str]:
    """Locks the endpoint of a folder; yields a line for each file. Nothing is changed when one of them fails.

    `exclude_newer` (a date) replaces the times of the sources.
    """
    document = read_document(folder / "endpoint.json", Places.of(REPOSITORY).schema, "")
    settings = Settings.from_document(document)
    base = base_lock(HERE, settings.comfyui_version, TOOLS)
    if base.stale():
        yield from _write(base, lambda scratch: _base_sources(settings, scratch), {}, exclude_newer)
    nodes = node_lock(folder, settings.comfyui_version, settings.custom_nodes)
    pins = {_package(pin): pin for pin in base.pins(COMFYUI)}
    yield from _write(nodes, lambda scratch: _node_sources(settings, scratch), pins, exclude_newer)


def _base_sources(settings: Settings, scratch: Path) -> Mapping[str, Source | Path]:
    tools = scratch / "tools.txt"
    tools.write_text("\n".join(TOOLS), encoding="utf-8")
    tag = f"refs/tags/v{settings.comfyui_version}"
    return {COMFYUI: _checkout(COMFYUI_REPOSITORY, tag, scratch / COMFYUI), WORKER: tools}


def _node_sources(settings: Settings, scratch: Path) -> Mapping[str, Source | Path]:
    return {
        node["name"]: _published(node, scratch / node["name"])
        if "registry" in node
        else _checkout(node["repository"], node["commit"], scratch / node["name"])
        for node in settings.custom_nodes
    }


def _write(
    lock: Lock,
    sources: Callable[[Path], Mapping[str, Source | Path]],
    pins: Pins,
    exclude_newer: str | None,
) -> Iterator[str]:
    """Replaces a folder of lock files when all of them are made."""
    with tempfile.TemporaryDirectory() as name:
        made = Lock(Path(name) / FOLDER, lock.sources)
        made.folder.mkdir()
        for file, given in sources(Path(name)).items():
            count = _lock_one(made.file(file), lock.sources[file], given, pins, exclude_newer)
            yield f"{lock.sources[file]}: {count} packages"
        shutil.rmtree(lock.folder, ignore_errors=True)
        if lock.sources:
            shutil.copytree(made.folder, lock.folder)


def _package(pin: str) -> str:
    return re.split(r"[=\s\[]", pin)[0]


def _checkout(repository: str, revision: str, folder: Path) -> Source:
    git = ["git", "-C", str(folder)]
    commands = (
        ["git", "init", "--quiet", str(folder)],
        [*git, "remote", "add", "origin", repository],
        [*git, "sparse-checkout", "set", "--no-cone", *READ],
        [*git, "fetch", "--quiet", "--depth", "1", "--filter=blob:none", "origin", revision],
        [*git, "checkout", "--quiet", "FETCH_HEAD"],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LockFailed(f"{repository} at {revision} cannot be fetched: {done.stderr.strip()}")
    shown = subprocess.run([*git, "log", "-1", "--format=%cI"], capture_output=True, text=True, check=True)
    return Source(folder / "requirements.txt", datetime.fromisoformat(shown.stdout.strip()))


def _published(node: Mapping[str, str], folder: Path) -> Source:
    try:
        archive = fetch(node["registry"], node["version"], node.get("sha256"))
        unpack(archive, folder)
    except RegistryError as error:
        raise LockFailed(str(error)) from error
    return Source(folder / "requirements.txt", archive.published)


def _lock_one(file: Path, source: str, given: Source | Path, pins: Pins, exclude_newer: str | None) -> int:
    """Writes one file with what `pins` lacks, and adds that to `pins`. Returns how many packages it names."""
    if isinstance(given, Path):
        compiled = _compile(given, source, pins, None)
        new = {name: block for name, block in compiled.items() if name not in pins}
    elif given.requirements.is_file():
        of_its_time = None if given.committed is None else (given.committed + LATER).isoformat()
        limit = exclude_newer or of_its_time
        compiled = _compile(given.requirements, source, pins, limit)
        new = {name: block for name, block in compiled.items() if name not in pins}
        # The tools are of today; no node of an earlier time could be resolved beside them.
        pins |= {name: block.splitlines()[0].split(" ")[0] for name, block in new.items()}
    else:
        new = {}
    note = f"# by `nx lock`, for Python {PYTHON_VERSION} on Linux; not to be edited\n"
    file.write_text(f"{MARK}{source}\n{note}{''.join(new.values())}", encoding="utf-8")
    return len(new)


def _compile(requirements: Path, source: str, pins: Pins, exclude_newer: str | None) -> dict[str, str]:
    """What uv resolves, by package: `name==version` and its hashes. Earlier pins hold."""
    constraints = requirements.with_name(f".{requirements.name}.constraints")
    constraints.write_text("\n".join(pin for pin in pins.values() if "==" in pin), encoding="utf-8")
    options = ["--python-version", PYTHON_VERSION, "--python-platform", "linux", "--generate-hashes"]
    quiet = ["--no-header", "--no-annotate", "--quiet", "--constraint", str(constraints)]
    limit = [] if exclude_newer is None else ["--exclude-newer", exclude_newer]
    done = subprocess.run(
        [_uv(), "pip", "compile", requirements.name, *options, *quiet, *limit],
        cwd=requirements.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LockFailed(f"uv finds no requirements for {source}:\n{done.stderr.strip()}")
    blocks = re.split(r"(?m)^(?=\S)", done.stdout)
    return {_package(block): block for block in blocks if block.strip()}


def _uv() -> str:
    beside = REPOSITORY / ".tools/bin/uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise LockFailed("There is no uv. `npm run setup` brings it.")
    return found


def main() -> None:
    """Locks one endpoint."""
    parser = argparse.ArgumentParser(prog="lock_requirements.py", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of an endpoint.json")
    parser.add_argument(
        "--exclude-newer",
        metavar="DATE",
        help="packages of ComfyUI and the nodes as of this date; without it, as of a week after each commit",
    )
    arguments = parser.parse_args()
    try:
        for line in lock(arguments.folder, arguments.exclude_newer):
            print(line, flush=True)
    except (InvalidEndpoint, LockFailed) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    os.environ.pop("VIRTUAL_ENV", None)
    main()
