"""A photo job end to end by the official Python SDK, unchanged."""

from __future__ import annotations

import os
from collections.abc import Callable

from .service import ENDPOINT, TOKEN


def run(url: str) -> list[str]:
    """What was checked. Raises AssertionError or what the SDK raises."""
    os.environ["COMFY_BASE_URL"] = url
    from comfy_sdk import Comfy
    from comfy_sdk.exceptions import ComfyError

    checked: list[str] = []

    def check(what: str, condition: bool) -> None:
        assert condition, what
        checked.append(what)

    def refused(what: str, code: str, call: Callable[[], object]) -> None:
        try:
            call()
        except ComfyError as error:
            check(f"{what}: {code}", error.code == code)
        else:
            raise AssertionError(f"{what} was not refused")

    with Comfy(api_key=TOKEN) as client:
        workflow = client.workflows.from_file(ENDPOINT / "workflow.json")
        photo = client.assets.from_file(ENDPOINT / "photo.jpg")
        workflow.set_input("1", "image", photo)
        labels = {"client": "contract", "run": "python"}
        job = client.submit(workflow, idempotency_key="contract-python", metadata=labels)
        check("labels come back", job.metadata == labels)
        events = list(job.events())
        check("events end with the job", events[-1].status == "succeeded")
        check("an output is announced", any(type(event).__name__ == "OutputReady" for event in events))
        done = job.result()
        (output,) = done.get_outputs("8")
        picture = output.to_bytes()
        check("the picture is a PNG", picture.startswith(b"\x89PNG"))
        check("a range of it", output.to_bytes(range=(0, 7)) == picture[:8])
        check("a job is found by its id", client.jobs.get(job.id).status == "succeeded")
        check("its workflow", job.get_workflow().format == "api")
        check("cancel after the end changes nothing", job.cancel().status == "succeeded")
        again = client.assets.from_file(ENDPOINT / "photo.jpg")
        again.commit()
        check("known bytes are not uploaded again", again.created_new is False)
        again.delete()
        others = [client.submit(workflow, metadata=labels) for _ in range(3)]
        listed = [entry.id for entry in client.list_jobs(metadata=labels, limit=2)]
        check("the list pages, newest first", listed == [*(other.id for other in reversed(others)), job.id])
        refused(
            "a reused key",
            "idempotency_key_reuse",
            lambda: client.submit(workflow, idempotency_key="contract-python"),
        )
        refused("a label", "metadata_invalid", lambda: client.submit(workflow, metadata={"a b": "c"}))
        refused("a filter", "invalid_metadata_filter", lambda: list(client.list_jobs(metadata={"a b": "c"})))
        refused("a job", "not_found", lambda: client.jobs.get("00000000-0000-4000-8000-000000000000"))
        broken = client.workflows.from_json({"1": {"class_type": "NoSuchNode", "inputs": {}}})
        refused("a workflow", "invalid_workflow", lambda: client.submit(broken))
        for other in others:
            other.result()
    with Comfy(api_key="wrong") as client:
        refused("a wrong token", "unauthorized", lambda: client.jobs.get(job.id))
    return checked
