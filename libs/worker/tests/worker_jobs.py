"""Jobs and engines that the tests of comfy_worker share."""

from __future__ import annotations

import uuid
from pathlib import Path

from comfy_worker import EngineConfig, Job

SIMULATOR = Path(__file__).parents[3] / "tools/local-clouds/src/comfy_sim/engine"


def simulator(*arguments: str, cancel_timeout: float = 30) -> EngineConfig:
    """A simulator with options of its own, for what a good engine never does."""
    return EngineConfig(directory=SIMULATOR, args=arguments, start_timeout=60, cancel_timeout=cancel_timeout)


def picture_workflow(color: int, *, prefix: str = "worker", blurs: int = 0) -> dict[str, object]:
    """A picture of one colour, which no cache holds when the colour is new, blurred some times."""
    workflow: dict[str, object] = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {
                "width": 768 if blurs else 64,
                "height": 768 if blurs else 48,
                "batch_size": 1,
                "color": color,
            },
        }
    }
    last = "1"
    for number in range(blurs):
        node = f"b{number}"
        workflow[node] = {
            "class_type": "ImageBlur",
            "inputs": {"image": [last, 0], "blur_radius": 31, "sigma": 9.0},
        }
        last = node
    workflow["9"] = {"class_type": "SaveImage", "inputs": {"images": [last, 0], "filename_prefix": prefix}}
    return workflow


def new_color() -> int:
    """A colour that no earlier test has used."""
    return uuid.uuid4().int % 0xFFFFFF


def job(workflow: dict[str, object], **more: object) -> Job:
    """A job with a fresh id."""
    return Job(str(uuid.uuid4()), workflow, **more)  # type: ignore[arg-type]
