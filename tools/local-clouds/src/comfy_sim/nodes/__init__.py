"""The nodes that comfy-sim executes. Importing this package registers them."""

from . import files, images, masks, morphology, text
from .files import is_changed
from .registry import NODES, Context, Interrupted, NodeError, Result
from .simulated import simulate

__all__ = [
    "NODES",
    "Context",
    "Interrupted",
    "NodeError",
    "Result",
    "files",
    "images",
    "is_changed",
    "masks",
    "morphology",
    "simulate",
    "text",
]
