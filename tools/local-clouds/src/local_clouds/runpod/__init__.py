"""A local RunPod: the job API that clients call, and the control plane that the real worker SDK polls."""

from .server import FAULTS, LocalRunPod

__all__ = ["FAULTS", "LocalRunPod"]
