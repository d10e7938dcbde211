"""A checkout with one endpoint, and its deployment to a local Modal."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from local_modal import LocalModal

REPOSITORY = Path(__file__).resolve().parents[3]


def deploy(cloud: LocalModal, app: str, *arguments: str, cwd: Path | None = None, **environ: str) -> Any:
    done = cloud.modal(
        "deploy", "comfyui_app.py", *arguments, cwd=cwd or REPOSITORY / "apps/modal", **environ
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return cloud.app(app)


class Workspace:
    """A checkout with one endpoint, whose files a test may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path in ("apps/modal/comfyui_app.py", "libs/workflow/schema/endpoint.schema.json"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / path, folder / path)
        ignored = shutil.ignore_patterns("__pycache__")
        for path in ("apps/modal/src", "libs/worker/src"):
            shutil.copytree(REPOSITORY / path, folder / path, ignore=ignored)
        self.endpoint = folder / "apps/endpoints/probe"
        shutil.copytree(REPOSITORY / "apps/endpoints/photo-finish", self.endpoint, ignore=ignored)
        shutil.rmtree(self.endpoint / "requirements", ignore_errors=True)

    def write(self, **changes: Any) -> None:
        document = json.loads((REPOSITORY / "apps/endpoints/photo-finish/endpoint.json").read_text("utf-8"))
        text = json.dumps({**document, "name": "probe", **changes})
        (self.endpoint / "endpoint.json").write_text(text, encoding="utf-8")

    @property
    def environ(self) -> dict[str, str]:
        sources = (self.folder / "apps/modal/src", self.folder / "libs/worker/src")
        return {"RYLA_ENDPOINT": "probe", "PYTHONPATH": os.pathsep.join(map(str, sources))}

    def deploy(self, cloud: LocalModal, **environ: str) -> Any:
        """The recorded app."""
        return deploy(cloud, "ryla-probe", cwd=self.folder / "apps/modal", **self.environ, **environ)
