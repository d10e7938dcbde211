"""What is deployed, for `ryla deploy`: answers questions from stdin, one JSON document a line, until it ends.

`modal app list` and `modal app history` say the same, at a second of start for each question. This process starts once and asks
Modal for many histories at a time. It also keeps the marks of deployments that nobody has tried yet, in a Dict.

It uses the client's own requests, as `modal app` does (modal 1.6.4, pinned by uv.lock).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from modal._utils.async_utils import synchronizer
from modal.client import _Client  # pyright: ignore[reportPrivateUsage]
from modal.dict import _Dict  # pyright: ignore[reportPrivateUsage]
from modal.exception import NotFoundError, PermissionDeniedError
from modal_proto import api_pb2

# By endpoint, the fingerprint of a deployment whose smoke job has not ended. Modal drops an entry after 7 days in which nobody
# reads it; it counts as tried then.
UNTRIED = "ryla-untried-deployments"
AT_ONCE = 16

Request = dict[str, Any]


async def apps(client: _Client, _request: Request) -> list[dict[str, str]]:
    """Apps that are deployed."""
    answer = await client._stub.AppList(api_pb2.AppListRequest(environment_name=environment()))
    return [
        {"id": app.app_id, "name": app.description}
        for app in answer.apps
        if app.state == api_pb2.APP_STATE_DEPLOYED
    ]


async def history(client: _Client, request: Request) -> list[dict[str, str | None]]:
    """Versions of an app, newest first, by its id or its name."""
    app_id = request.get("app") or await _app_id(client, request["name"])
    if not app_id:
        return []
    answer = await client._stub.AppDeploymentHistory(api_pb2.AppDeploymentHistoryRequest(app_id=app_id))
    return [
        {
            "version": f"v{each.version}",
            "commit": each.commit_info.commit_hash[:7] or None,
            "tag": each.tag or None,
        }
        for each in answer.app_deployment_histories
    ]


async def untried(_client: _Client, _request: Request) -> dict[str, str]:
    """The marks: fingerprints by endpoint. A token that may not read them sees none."""
    try:
        return {name: value async for name, value in _Dict.from_name(UNTRIED).items()}
    except (NotFoundError, PermissionDeniedError):
        return {}


async def mark(_client: _Client, request: Request) -> None:
    """Marks an endpoint's next deployment as untried."""
    marks = _Dict.from_name(UNTRIED, create_if_missing=True)
    await marks.put(request["endpoint"], request["fingerprint"])


async def unmark(_client: _Client, request: Request) -> None:
    """Takes an endpoint's mark away."""
    try:
        await _Dict.from_name(UNTRIED).pop(request["endpoint"], None)
    except NotFoundError:
        return


QUESTIONS: dict[str, Callable[[_Client, Request], Awaitable[Any]]] = {
    "apps": apps,
    "history": history,
    "untried": untried,
    "mark": mark,
    "unmark": unmark,
}


def environment() -> str:
    """The environment; empty for the account's default one."""
    return os.environ.get("MODAL_ENVIRONMENT") or ""


async def _app_id(client: _Client, name: str) -> str:
    request = api_pb2.AppGetByDeploymentNameRequest(name=name, environment_name=environment())
    return (await client._stub.AppGetByDeploymentName(request)).app_id


async def answer(request: Request, slots: asyncio.Semaphore) -> dict[str, Any]:
    """An answer with the id of its question: `value`, or `error` in words."""
    try:
        async with slots:
            client = await _Client.from_env()
            return {"id": request["id"], "value": await QUESTIONS[request["ask"]](client, request)}
    except Exception as error:
        return {"id": request["id"], "error": str(error) or repr(error)}


async def serve() -> None:
    """Answers until stdin ends."""
    loop = asyncio.get_running_loop()
    slots = asyncio.Semaphore(AT_ONCE)

    async def told(request: Request) -> None:
        print(json.dumps(await answer(request, slots)), flush=True)

    async with asyncio.TaskGroup() as tasks:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            tasks.create_task(told(json.loads(line)))


if __name__ == "__main__":
    # On the client's own event loop, as its command line does.
    synchronizer.create_blocking(serve)()  # pyright: ignore[reportCallIssue]
