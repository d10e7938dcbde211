"""Plays a recorded scenario against a server and says where it answers otherwise."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from typing import Any

import aiohttp

END = ("execution_success", "execution_error", "execution_interrupted")
TIMEOUT = 60.0
COLOR = re.compile(r'("color": )(\d{5,})')


class Session:
    """A client as the recording's: a socket, and calls whose ids stand for the recorded ones."""

    def __init__(self, base_url: str, http: aiohttp.ClientSession) -> None:
        self.base_url = base_url
        self.http = http
        self.client_id = uuid.uuid4().hex
        self.messages: list[dict[str, Any]] = []
        self.changed = asyncio.Event()
        self.ids = {"<client>": self.client_id, "<given>": str(uuid.uuid4())}
        self.fresh = uuid.uuid4().int % (1 << 24)
        self.runs: dict[str, int] = {}

    async def listen(self, opened: asyncio.Event) -> None:
        address = f"{self.base_url}/ws?clientId={self.client_id}"
        async with self.http.ws_connect(address, max_msg_size=0) as socket:
            async for raw in socket:
                if raw.type is aiohttp.WSMsgType.TEXT:
                    self.messages.append(json.loads(raw.data))
                else:
                    self.messages.append({"type": f"binary{int.from_bytes(raw.data[:4], 'big')}", "data": {}})
                opened.set()
                event, self.changed = self.changed, asyncio.Event()
                event.set()

    async def until(self, found: Any) -> None:
        """Waits until a predicate holds for the messages."""
        async with asyncio.timeout(TIMEOUT):
            while not found(self.messages):
                await self.changed.wait()

    async def ended(self, prompt_id: str) -> None:
        """Waits for the last message of a prompt (`executing` without a node), as often as it was submitted."""
        last = {"node": None, "prompt_id": prompt_id}
        runs = self.runs.get(prompt_id, 1)
        await self.until(
            lambda messages: sum(m["type"] == "executing" and m["data"] == last for m in messages) >= runs
        )

    async def call(self, request: dict[str, Any]) -> tuple[int, str, bytes]:
        """Sends a recorded request; colors are shifted so that nothing is cached from an earlier scenario."""
        body = json.dumps(request["json"]) if "json" in request else request.get("body")
        path = request["path"]
        for placeholder, value in self.ids.items():
            path = path.replace(placeholder, value)
            body = body.replace(placeholder, value) if body else body
        if body:
            body = COLOR.sub(lambda m: m[1] + str((int(m[2]) + self.fresh) % (1 << 24)), body)
        headers = {"content-type": "application/json"} if body is not None else {}
        async with self.http.request(
            request["method"], self.base_url + path, data=body, headers=headers
        ) as response:
            return response.status, response.content_type, await response.read()

    def normalised(self, value: Any) -> str:
        """A value with ids, times and counters as the recordings have them, for comparison."""
        text = json.dumps(value, sort_keys=True)
        for placeholder, actual in self.ids.items():
            text = text.replace(actual, placeholder)
        text = COLOR.sub(lambda m: m[1] + str((int(m[2]) - self.fresh) % (1 << 24)), text)
        text = re.sub(r'"timestamp": \d+', '"timestamp": 0', text)
        text = re.sub(r"_temp_[a-z]{5}_", "_temp_#####_", text)
        return re.sub(r"_(\d{5}|#####)_\.", "_#_.", text)


def order(messages: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Kinds of messages in order; repeated steps and previews of a sampler count once."""
    sequence: list[tuple[str, Any]] = []
    for message in messages:
        kind = message.get("type") or f"binary{message.get('event', 0)}"
        if kind in ("status", "progress_state", "binary4"):
            continue
        data = message.get("data", {})
        item = (kind, data.get("node") if kind in ("executing", "executed") else None)
        if kind in ("progress", "binary1") and item in sequence[-2:]:
            continue
        sequence.append(item)
    return sequence


def problems(answer: Any) -> Any:
    """The part of a refusal that must be equal: every error with its texts and particulars, in any order."""
    if not isinstance(answer, dict) or ("error" not in answer and "node_errors" not in answer):
        return None
    nodes = {
        node_id: {
            "class_type": entry["class_type"],
            "dependent_outputs": sorted(entry["dependent_outputs"]),
            "errors": sorted((_without_traceback(error) for error in entry["errors"]), key=json.dumps),
        }
        for node_id, entry in (answer.get("node_errors") or {}).items()
    }
    error = answer.get("error")
    if isinstance(error, dict):
        error = {**error, "details": sorted(str(error.get("details", "")).splitlines())}
    return json.loads(json.dumps({"error": error, "nodes": nodes}, sort_keys=True))


def _without_traceback(error: dict[str, Any]) -> dict[str, Any]:
    extra = {key: value for key, value in error.get("extra_info", {}).items() if key != "traceback"}
    config = extra.get("input_config")
    if isinstance(config, list) and len(config) == 2 and isinstance(config[1], dict):
        # The recorded catalogue has no texts for people; neither are they compared here.
        extra["input_config"] = [config[0], {k: v for k, v in config[1].items() if k != "tooltip"}]
    return {**error, "extra_info": extra}


def history(answer: Any) -> Any:
    """The part of a history entry that must be equal: outputs, status, kinds of messages, and meta."""
    if not isinstance(answer, dict):
        return None
    return {
        prompt_id: {
            "outputs": entry["outputs"],
            "status": [entry["status"]["status_str"], entry["status"]["completed"]],
            "messages": [message[0] for message in entry["status"]["messages"]],
            "meta": entry.get("meta"),
            "prompt": entry["prompt"][1:4],
            "executed outputs": sorted(entry["prompt"][4]),
        }
        for prompt_id, entry in answer.items()
        if isinstance(entry, dict) and "outputs" in entry
    }


async def play(base_url: str, scenario: dict[str, Any]) -> list[str]:
    """Plays a scenario; returns the differences."""
    differences: list[str] = []
    async with aiohttp.ClientSession() as http:
        session = Session(base_url, http)
        opened = asyncio.Event()
        listener = asyncio.create_task(session.listen(opened))
        try:
            await asyncio.wait_for(opened.wait(), TIMEOUT)
            started = await _steps(session, scenario, differences)
            await _finish(session, started, scenario)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
    name = scenario["scenario"]
    got, want = order(session.messages), order(scenario["websocket"])
    if "interrupt" in name or name == "delete_queued":
        # Where a run is interrupted is a matter of timing; how it ends is not.
        got, want = got[-2:], want[-2:]
    elif "text_to_image" in name:
        got, want = _from_sampler(got), _from_sampler(want)
    if got != want:
        differences.append(f"events: {got} instead of {want}")
    return differences


async def _steps(session: Session, scenario: dict[str, Any], differences: list[str]) -> list[str]:
    steps = scenario["http"]
    interrupts = any(step["request"]["path"].startswith(("/interrupt", "/queue")) for step in steps)
    started: list[str] = []
    for step in steps:
        request, want = step["request"], step["response"]
        if request["path"].startswith("/interrupt") and started:
            await session.until(
                lambda messages: any(m["type"] in ("progress", "executing") for m in messages)
            )
        if request["path"].startswith("/history/") and started and not request["path"].endswith("<prompt2>"):
            await session.ended(started[-1] if not interrupts else started[0])
        if "_#####_" in request["path"]:
            continue
        status, content_type, body = await session.call(request)
        tag = f"{request['method']} {request['path'][:60]}"
        if status != want["status"]:
            differences.append(f"{tag}: status {status} instead of {want['status']}")
        answer = _json(body)
        expected = want.get("json")
        if isinstance(answer, dict) and isinstance(expected, dict) and "prompt_id" in expected:
            session.ids[expected["prompt_id"]] = answer.get("prompt_id", "")
            if "prompt_id" in answer:
                started.append(answer["prompt_id"])
                session.runs[answer["prompt_id"]] = session.runs.get(answer["prompt_id"], 0) + 1
                if not interrupts:
                    await session.ended(answer["prompt_id"])
        _compare(session, tag, answer, expected, differences)
        if want.get("type") and content_type != want["type"]:
            differences.append(f"{tag}: type {content_type} instead of {want['type']}")
    return started


def _compare(session: Session, tag: str, answer: Any, expected: Any, differences: list[str]) -> None:
    for look in (problems, history):
        got, want = (
            session.normalised(look(answer)),
            Session.normalised(_as_recorded(session), look(expected)),
        )
        if got != want:
            differences.append(f"{tag}: {got} instead of {want}")
    plain = (list, type(None))
    if isinstance(expected, plain) and answer != expected and "/models" not in tag:
        differences.append(f"{tag}: {answer} instead of {expected}")


def _as_recorded(session: Session) -> Session:
    recorded = Session(session.base_url, session.http)
    recorded.ids, recorded.fresh = {}, 0
    return recorded


async def _finish(session: Session, started: list[str], scenario: dict[str, Any]) -> None:
    deleted = scenario["scenario"] == "delete_queued"
    for prompt_id in started[:1] if deleted else started:
        await session.ended(prompt_id)


def _from_sampler(sequence: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Which nodes are cached depends on what ran before; from the sampler on the order is fixed."""
    start = ("executing", "3")
    return sequence[sequence.index(start) :] if start in sequence else sequence


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
