"""A local RunPod: the job API that clients call, and the control plane that the real worker SDK polls."""

from .account import InvalidAccount, read_account
from .management_resources import Refused
from .server import FAULTS, LocalRunPod

__all__ = ["FAULTS", "InvalidAccount", "LocalRunPod", "Refused", "read_account"]
