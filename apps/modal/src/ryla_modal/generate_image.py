"""The one-call form that existing callers use: POST {workflow_json, prompt?}, wait, get pictures."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .access import Access
from .api_error import ApiError
from .gateway import EXCEPTION_HANDLERS
from .jobs import TERMINAL, Jobs
from .request_body import parse_object, read_json
from .stores import FileStore, KeyValueStore
from .workflow_guard import check_workflow, set_prompt

POLL = 0.1


class GenerateImage:
    """Runs a workflow and answers with its pictures in base64. Past 150 s Modal answers 303; clients poll that."""

    def __init__(self, jobs: Jobs, store: KeyValueStore, files: FileStore) -> None:
        self._jobs = jobs
        self._store = store
        self._files = files

    def application(self, access: Access | None = None) -> Starlette:
        """The ASGI application: POST to any path."""
        return Starlette(
            routes=[Route("/{path:path}", self._post, methods=["POST"])],
            middleware=(access or Access()).middleware(),
            exception_handlers=EXCEPTION_HANDLERS,
        )

    async def _post(self, request: Request) -> Response:
        document = await read_json(request)
        workflow = check_workflow(_workflow(document), None)
        prompt = document.get("prompt")
        if prompt is not None and not isinstance(prompt, str):
            raise ApiError(422, "invalid_request", "`prompt` must be a text.")
        if prompt:
            workflow = set_prompt(workflow, prompt)
        job = await self._jobs.submit(workflow)
        request.state.job = job["id"]
        try:
            while job["status"] not in TERMINAL:
                await asyncio.sleep(POLL)
                job = await self._jobs.get(job["id"])
        except asyncio.CancelledError:
            await asyncio.shield(self._jobs.cancel(job["id"]))
            raise
        if job["status"] != "succeeded":
            error: dict[str, Any] = job["error"] or {
                "code": job["status"],
                "message": f"The job was {job['status']}.",
            }
            raise ApiError(
                500, error["code"], error["message"], {"jobId": job["id"], "node_id": error.get("node_id")}
            )
        images = [await self._image(output) for output in job["outputs"] if output["type"] == "image"]
        first = images[0]["data"] if images else None
        return JSONResponse({"image": first, "images": images, "jobId": job["id"]})

    async def _image(self, output: dict[str, Any]) -> dict[str, Any]:
        path = await self._files.path(output["hash"])
        if path is None:
            raise ApiError(500, "output_missing", f"The output {output['name']} is no longer kept.")
        data = base64.b64encode(await asyncio.to_thread(path.read_bytes)).decode()
        return {
            "filename": output["name"],
            "contentType": output["content_type"],
            "nodeId": output["node_id"],
            "data": data,
        }


def _workflow(document: dict[str, Any]) -> Any:
    workflow = document.get("workflow_json")
    if workflow is None:
        raise ApiError(422, "invalid_request", "`workflow_json` is needed: a workflow in API format.")
    if not isinstance(workflow, str):
        return workflow
    try:
        return parse_object(workflow.encode())
    except ApiError as error:
        raise ApiError(422, "invalid_workflow", f"`workflow_json`: {error.message}") from None
