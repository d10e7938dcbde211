"""ComfyUI's own page for an endpoint: what stands behind `npx nx run <endpoint>:edit`.

`RYLA_ENDPOINT=<name> modal run comfyui_edit.py` starts one container with the endpoint's image, GPU and volumes, prints
the page's address, and stops everything when its standard input ends. The page refuses requests without the proxy
credentials; a browser cannot send them, so reach it through `nx run <endpoint>:edit`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import modal
from ryla_modal.deployment import LONGEST, Deployment

IDLE_VARIABLE = "RYLA_EDIT_IDLE_SECONDS"
USER = "/root/edit"
"""Where ComfyUI keeps its settings and the workflows that are saved in it: the Volume `ryla-edit`."""

deployment = Deployment(Path(__file__))
settings = deployment.settings
app = modal.App(f"{settings.app}-edit", tags=deployment.tags)
user = modal.Volume.from_name("ryla-edit", create_if_missing=True, version=2)


@app.cls(
    **deployment.machine(),
    image=deployment.worker_image(),
    # Models can be added from the page; every other container of the endpoint sees them after its next start.
    volumes={**deployment.mounts(writable_models=True), USER: user},
    timeout=LONGEST,
    max_containers=1,
    scaledown_window=int(os.environ.get(IDLE_VARIABLE, "300")),
)
@modal.concurrent(max_inputs=1000)
class Editor:
    """One container with one ComfyUI, for one person."""

    @modal.enter()
    async def start(self) -> None:
        """Starts ComfyUI. Raises EngineUnavailable with its log."""
        from comfy_worker import ComfyProcess, EngineConfig

        config = EngineConfig.from_env(os.environ)
        folder = Path(USER) if Path(USER).is_dir() else Path.home()
        config = replace(config, args=(*config.args, "--user-directory", str(folder)))
        self.process = ComfyProcess(config, on_log=print)
        await self.process.start()

    @modal.asgi_app(label=f"{settings.label}-edit", requires_proxy_auth=True)
    def page(self) -> Any:
        """Everything that ComfyUI serves, its WebSocket too."""
        from urllib.parse import urlsplit

        # What @modal.web_server uses, which cannot be given a port that is only known now (modal is pinned).
        from modal._runtime.asgi import web_server_proxy

        address = urlsplit(self.process.url)
        return web_server_proxy(address.hostname or "127.0.0.1", address.port or 80)

    @modal.exit()
    async def stop(self) -> None:
        """Stops ComfyUI; what was saved is kept."""
        await self.process.stop()
        await user.commit.aio()


@app.local_entrypoint()
def main() -> None:
    """Prints the page's address and waits for the end of standard input."""
    url = Editor().page.get_web_url()  # pyright: ignore
    print(f"RYLA_EDIT_URL {url}", flush=True)
    while sys.stdin.readline():
        continue
