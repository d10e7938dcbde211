"""Runs prompts one after the other, with ComfyUI's order of nodes, cache and messages."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .catalogue import Catalogue
from .execution_order import ExecutionOrder, is_link
from .faults import Faults
from .folders import Folders
from .nodes import NODES, Context, Interrupted, NodeError, Result, is_changed, simulate
from .prompt_queue import PromptQueue, QueuedPrompt

OUT_OF_MEMORY = "torch.OutOfMemoryError"
OUT_OF_MEMORY_TIP = (
    "This error means you ran out of memory on your GPU.\n\n"
    "TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number."
)


class Audience(Protocol):
    """Those who listen: the sockets of a server."""

    def send(self, event: str, data: Any, client_id: str | None) -> None:
        """Sends a message to one client, or to all with `None`."""
        ...

    def send_preview(self, image_format: str, image: Any, client_id: str | None) -> None:
        """Sends a preview picture as a binary message."""
        ...

    def drop(self) -> None:
        """Closes every socket at once (a fault)."""
        ...


@dataclass(frozen=True)
class Pace:
    """How long simulated work takes, in seconds."""

    step: float = 0.02
    model_load: float = 0.0
    previews: bool = True


@dataclass
class _CacheEntry:
    outputs: tuple[Any, ...]
    ui: Mapping[str, Any]
    meta: Mapping[str, Any]


@dataclass
class _Run:
    item: QueuedPrompt
    client_id: str | None
    keys: dict[str, str]
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    executed: list[str] = field(default_factory=list[str])
    progress: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    cached_before: list[str] = field(default_factory=list[str])


class Executor:
    """Executes the prompts of a queue in a thread of its own."""

    def __init__(
        self,
        queue: PromptQueue,
        catalogue: Catalogue,
        folders: Folders,
        audience: Audience,
        faults: Faults,
        pace: Pace,
        log: Callable[[str], None],
    ) -> None:
        self._queue = queue
        self._catalogue = catalogue
        self._folders = folders
        self._audience = audience
        self._faults = faults
        self._pace = pace
        self._log = log
        self._interrupted = threading.Event()
        self._cache: dict[str, _CacheEntry] = {}
        self._free = threading.Event()
        self.current: tuple[str, str] | None = None
        """Client and node that run now, for a client that reconnects."""
        self._thread = threading.Thread(target=self._work, name="comfy-sim executor", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def interrupt(self) -> None:
        """Ends the running prompt at its next step or node."""
        self._interrupted.set()

    def free_memory(self) -> None:
        """Forgets the cache before the next prompt."""
        self._free.set()

    def _work(self) -> None:
        while (item := self._queue.take()) is not None:
            started = time.monotonic()
            result, status = self._execute(item)
            self._queue.done(result, status)
            client_id = item.extra_data.get("client_id")
            if client_id is not None:
                self._audience.send("executing", {"node": None, "prompt_id": item.prompt_id}, client_id)
            self._log(f"Prompt executed in {time.monotonic() - started:.2f} seconds")
            if self._free.is_set():
                self._free.clear()
                self._cache.clear()

    def _execute(self, item: QueuedPrompt) -> tuple[dict[str, Any], dict[str, Any]]:
        self._interrupted.clear()
        run = _Run(item, item.extra_data.get("client_id"), {})
        self._message(run, "execution_start", {"prompt_id": item.prompt_id})
        run.keys = self._cache_keys(item.prompt)
        used = set(run.keys.values())
        self._cache = {key: entry for key, entry in self._cache.items() if key in used}
        run.cached_before = [node_id for node_id in item.prompt if run.keys[node_id] in self._cache]
        self._message(run, "execution_cached", {"nodes": run.cached_before, "prompt_id": item.prompt_id})
        completed = self._run_nodes(run)
        if completed:
            self._message(run, "execution_success", {"prompt_id": item.prompt_id})
        self.current = None
        shown = {node_id: self._cache[key] for node_id, key in run.keys.items() if key in self._cache}
        result = {
            "outputs": {node_id: entry.ui for node_id, entry in shown.items() if entry.ui},
            "meta": {node_id: entry.meta for node_id, entry in shown.items() if entry.ui},
        }
        status = {
            "status_str": "success" if completed else "error",
            "completed": completed,
            "messages": run.messages,
        }
        return result, status

    def _run_nodes(self, run: _Run) -> bool:
        prompt = run.item.prompt
        order = ExecutionOrder(prompt, self._catalogue, lambda node_id: run.keys[node_id] in self._cache)
        for output in run.item.outputs:
            order.add(output)
        while (node_id := order.next()) is not None:
            try:
                self._node(run, node_id)
            except Interrupted:
                self._log("Processing interrupted")
                data = self._about(run, node_id)
                self._message(run, "execution_interrupted", data, broadcast=True)
                return False
            except Exception as error:
                self._log(f"!!! Exception during processing !!! {error}")
                self._message(
                    run,
                    "execution_error",
                    {**self._about(run, node_id), **self._failure(run, node_id, error)},
                )
                return False
            order.complete(node_id)
        return True

    def _about(self, run: _Run, node_id: str) -> dict[str, Any]:
        return {
            "prompt_id": run.item.prompt_id,
            "node_id": node_id,
            "node_type": run.item.prompt[node_id]["class_type"],
            "executed": run.executed,
        }

    def _failure(self, run: _Run, node_id: str, error: Exception) -> dict[str, Any]:
        kind = error.exception_type if isinstance(error, NodeError) else _type_name(error)
        tip = OUT_OF_MEMORY_TIP if kind == OUT_OF_MEMORY else ""
        return {
            "exception_message": f"{error}\n{tip}",
            "exception_type": kind,
            "traceback": traceback.format_tb(error.__traceback__),
            "current_inputs": {
                name: [_shown(value)] for name, value in self._inputs(run, node_id, strict=False).items()
            },
            "current_outputs": run.cached_before,
        }

    def _node(self, run: _Run, node_id: str) -> None:
        prompt_id, client_id = run.item.prompt_id, run.client_id
        key = run.keys[node_id]
        if key in self._cache:
            if client_id is not None:
                data = {"node": node_id, "display_node": node_id, "output": self._cache[key].ui or None}
                self._audience.send("executed", {**data, "prompt_id": prompt_id}, client_id)
            self._progress(run, node_id, 1, 1, "finished")
            return
        self._progress(run, node_id, 0.0, 1.0, "running")
        if client_id is not None:
            self.current = (client_id, node_id)
            data = {"node": node_id, "display_node": node_id, "prompt_id": prompt_id}
            self._audience.send("executing", data, client_id)
        result = self._call(run, node_id)
        meta = {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}
        self._cache[key] = _CacheEntry(result.outputs, result.ui, meta)
        if result.ui and client_id is not None:
            data = {"node": node_id, "display_node": node_id, "output": result.ui, "prompt_id": prompt_id}
            self._audience.send("executed", data, client_id)
        state = run.progress[node_id]
        self._progress(run, node_id, state["max"], state["max"], "finished")
        run.executed.append(node_id)

    def _call(self, run: _Run, node_id: str) -> Result:
        class_type = run.item.prompt[node_id]["class_type"]
        self._wait(0)
        self._strike(class_type)
        inputs = self._inputs(run, node_id)
        context = Context(
            node_id=node_id,
            class_type=class_type,
            info=self._catalogue.static(class_type),
            folders=self._folders,
            prompt=run.item.prompt,
            extra_pnginfo=run.item.extra_data.get("extra_pnginfo"),
            steps=lambda value, maximum, preview=None: self._step(run, node_id, value, maximum, preview),
            wait=self._wait,
            step_seconds=self._pace.step,
            model_load_seconds=self._pace.model_load,
        )
        implementation = NODES.get(class_type)
        result = simulate(context, inputs) if implementation is None else implementation(context, **inputs)
        if result.ui and self._faults.strikes("lose-output"):
            for file in result.ui.get("images", []):
                folder = self._folders.of_type(file["type"])
                if folder is not None:
                    (folder / file["subfolder"] / file["filename"]).unlink()
        return result

    def _strike(self, class_type: str) -> None:
        slow = self._faults.value("slow")
        if slow is not None and self._faults.strikes("slow"):
            self._wait(float(slow or 1))
        if self._faults.strikes("drop-websocket"):
            self._audience.drop()
        if self._faults.strikes("crash", class_type):
            self._log("fault: crash")
            os._exit(139)
        if self._faults.strikes("hang", class_type):
            threading.Event().wait()
        default = self._faults.value("oom") == "" and not class_type.startswith(("KSampler", "SamplerCustom"))
        if not default and self._faults.strikes("oom", class_type):
            raise NodeError(
                "Allocation on device 0 would exceed allowed memory. (out of memory)", OUT_OF_MEMORY
            )
        if self._faults.strikes("node-error", class_type):
            raise NodeError("injected failure", "RuntimeError")

    def _inputs(self, run: _Run, node_id: str, strict: bool = True) -> dict[str, Any]:
        node = run.item.prompt[node_id]
        specs = self._catalogue.static(node["class_type"]).get("input", {})
        known = {*specs.get("required", {}), *specs.get("optional", {})}
        values: dict[str, Any] = {}
        for name, value in node["inputs"].items():
            if is_link(value):
                entry = self._cache.get(run.keys[value[0]])
                if entry is not None:
                    values[name] = entry.outputs[value[1]]
                elif strict:
                    raise NodeError(f"input {name} has no value")
            elif name in known:
                values[name] = value
        return values

    def _step(self, run: _Run, node_id: str, value: int, maximum: int, preview: Any) -> None:
        self._wait(0)
        self._progress(run, node_id, value, maximum, "running")
        if run.client_id is None:
            return
        data = {"value": value, "max": maximum, "prompt_id": run.item.prompt_id, "node": node_id}
        self._audience.send("progress", data, run.client_id)
        if preview is not None and self._pace.previews:
            image_format, image = preview
            self._audience.send_preview(image_format, image, run.client_id)

    def _wait(self, seconds: float) -> None:
        if self._interrupted.wait(seconds) if seconds > 0 else self._interrupted.is_set():
            self._interrupted.clear()
            raise Interrupted

    def _progress(self, run: _Run, node_id: str, value: float, maximum: float, state: str) -> None:
        run.progress[node_id] = {
            "value": value,
            "max": maximum,
            "state": state,
            "node_id": node_id,
            "prompt_id": run.item.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        # Without a client the real one sends progress_state to everybody.
        data = {
            "prompt_id": run.item.prompt_id,
            "nodes": {key: dict(entry) for key, entry in run.progress.items()},
        }
        self._audience.send("progress_state", data, run.client_id)

    def _message(self, run: _Run, event: str, data: dict[str, Any], broadcast: bool = False) -> None:
        data = {**data, "timestamp": int(time.time() * 1000)}
        run.messages.append((event, data))
        if run.client_id is not None or broadcast:
            self._audience.send(event, data, run.client_id)

    def _cache_keys(self, prompt: Mapping[str, Any]) -> dict[str, str]:
        keys: dict[str, str] = {}

        def key(node_id: str) -> str:
            if node_id not in keys:
                node = prompt[node_id]
                inputs = {
                    name: [key(value[0]), value[1]] if is_link(value) else value
                    for name, value in node["inputs"].items()
                }
                hidden = self._catalogue.static(node["class_type"]).get("input", {}).get("hidden", {})
                identity = node_id if "UNIQUE_ID" in hidden.values() else ""
                changed = is_changed(self._folders, node["class_type"], node["inputs"])
                text = json.dumps(
                    [node["class_type"], inputs, identity, changed], sort_keys=True, default=str
                )
                keys[node_id] = hashlib.sha256(text.encode()).hexdigest()
            return keys[node_id]

        for node_id in prompt:
            try:
                key(node_id)
            except (KeyError, RecursionError):
                # A node outside the outputs that run may be broken; it has no cache entry then.
                keys[node_id] = f"broken {node_id}"
        return keys


def _type_name(error: Exception) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, np.ndarray):
        return f"tensor({np.array2string(value, precision=4, separator=', ')})"
    return str(value)
