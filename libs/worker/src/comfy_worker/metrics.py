"""Where a job's time went, and what it needed: the same figures on every cloud."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Phase = Literal["model_load", "sampling", "encode"]

PHASE_NAMES: tuple[tuple[Phase, re.Pattern[str]], ...] = (
    ("model_load", re.compile(r"Loader(?!.*Image)|^Load(Checkpoint|Diffusion|Lora|Model|VAE|CLIP)")),
    ("sampling", re.compile(r"K?Sampler(?!Select|Params)")),
    ("encode", re.compile(r"VAEDecode|^Save|^Preview|VideoCombine|^CreateVideo")),
)
"""Phases by the names of node classes, ComfyUI's own and the well-known custom ones; the first that fits counts."""


@dataclass(frozen=True, slots=True)
class JobMetrics:
    """Milliseconds of a job's phases, its GPU, and the memory that was in use. None is not known."""

    queue_ms: int | None = None
    """From the acceptance to the worker, without the start of one; only the cloud knows it."""
    boot_ms: int | None = None
    """Start of ComfyUI that this job waited for; 0 when it was warm."""
    model_load_ms: int | None = None
    """Loader nodes, and what samplers waited before their first step: ComfyUI loads to the GPU there."""
    sampling_ms: int | None = None
    encode_ms: int | None = None
    """Latents decoded, pictures and videos written."""
    upload_ms: int | None = None
    """Outputs brought to where the caller gets them."""
    gpu: str | None = None
    """As the driver names it; None without one."""
    peak_memory_bytes: int | None = None
    """Most memory of that GPU that was in use at one of the looks at it, by all processes."""

    def to_json(self) -> dict[str, Any]:
        """All of them, keys in camel case."""
        return {
            "queueMs": self.queue_ms,
            "bootMs": self.boot_ms,
            "modelLoadMs": self.model_load_ms,
            "samplingMs": self.sampling_ms,
            "encodeMs": self.encode_ms,
            "uploadMs": self.upload_ms,
            "gpu": self.gpu,
            "peakMemoryBytes": self.peak_memory_bytes,
        }

    def with_cloud(
        self, *, queue_ms: int | None = None, boot_ms: int | None = None, upload_ms: int | None = None
    ) -> JobMetrics:
        """With what only the cloud's side knows."""
        return replace(
            self,
            queue_ms=self.queue_ms if queue_ms is None else queue_ms,
            boot_ms=self.boot_ms if boot_ms is None else boot_ms,
            upload_ms=self.upload_ms if upload_ms is None else upload_ms,
        )


@dataclass(frozen=True, slots=True)
class Device:
    """The first device of ComfyUI's /system_stats."""

    gpu: str | None = None
    used_bytes: int | None = None

    @classmethod
    def from_stats(cls, stats: Mapping[str, Any]) -> Device:
        """Reads it; the CPU is no GPU, and has no memory of its own to speak of."""
        devices: Any = stats.get("devices")
        first: Any = devices[0] if isinstance(devices, list) and devices else {}
        if not isinstance(first, Mapping) or first.get("type") in (None, "cpu"):
            return cls()
        total, free = first.get("vram_total"), first.get("vram_free")
        used = total - free if isinstance(total, int) and isinstance(free, int) else None
        return cls(gpu_name(str(first.get("name", ""))), used)


def gpu_name(name: str) -> str:
    """The card out of ComfyUI's name of a device: `cuda:0 NVIDIA H200 : cudaMallocAsync` is `NVIDIA H200`."""
    return re.sub(r"^\w+:\d+ | : \w+$", "", name)


class PhaseClock:
    """Folds ComfyUI's messages into the time of each phase."""

    def __init__(self) -> None:
        self._spent: dict[Phase, float] = {"model_load": 0.0, "sampling": 0.0, "encode": 0.0}
        self._phase: Phase | None = None
        self._node: str | None = None
        self._begun = 0.0
        self._steps: list[tuple[float, float]] = []

    def executing(self, node_id: str | None, class_type: str | None, now: float) -> None:
        """A node starts, or with None the last one is done; `now` in seconds of any clock."""
        if node_id is not None and node_id == self._node:
            return
        if self._phase is not None:
            load = self._load_before_steps() if self._phase == "sampling" else 0.0
            self._spent["model_load"] += load
            self._spent[self._phase] += now - self._begun - load
        self._node, self._begun, self._steps = node_id, now, []
        self._phase = phase_of(class_type) if class_type is not None else None

    def step(self, value: float, now: float) -> None:
        """The node that runs reports step `value`."""
        if not self._steps or value > self._steps[-1][0]:
            self._steps.append((value, now))

    def _load_before_steps(self) -> float:
        """What passed before the first step, judged by the pace of the others."""
        if len(self._steps) < 2:
            return 0.0
        (first, first_at), (last, last_at) = self._steps[0], self._steps[-1]
        pace = (last_at - first_at) / (last - first)
        return max(0.0, first_at - self._begun - first * pace)

    def milliseconds(self, phase: Phase) -> int:
        """What a phase has taken."""
        return round(self._spent[phase] * 1000)


def phase_of(class_type: str) -> Phase | None:
    """The phase that a node of this class belongs to; None for all that is neither."""
    return next((phase for phase, names in PHASE_NAMES if names.search(class_type)), None)
