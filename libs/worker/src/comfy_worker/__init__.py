"""comfy_worker runs one ComfyUI workflow on one ComfyUI, and knows no cloud."""

from .claims import Claim, Claims, ClaimsUnavailable, DirectoryClaims, HeldClaim, ResultKept
from .client import ComfyClient, Message
from .engine import EngineConfig
from .errors import (
    EngineCrashed,
    EngineNotConfigured,
    EngineUnavailable,
    InputFileRejected,
    JobAlreadyClaimed,
    JobCanceled,
    JobTimedOut,
    NodeFailed,
    OutOfMemory,
    OutputMissing,
    WorkerError,
    WorkflowRejected,
)
from .job import InputFile, Job, JobEvent, JobTimings, LogLine, OutputReady, Preview, Progress
from .job_run import JobRun
from .latest_report import LatestReport
from .metrics import JobMetrics
from .outputs import Kind, Output
from .process import ComfyProcess
from .worker import Worker

__all__ = [
    "Claim",
    "Claims",
    "ClaimsUnavailable",
    "ComfyClient",
    "ComfyProcess",
    "DirectoryClaims",
    "EngineConfig",
    "EngineCrashed",
    "EngineNotConfigured",
    "EngineUnavailable",
    "HeldClaim",
    "InputFile",
    "InputFileRejected",
    "Job",
    "JobAlreadyClaimed",
    "JobCanceled",
    "JobEvent",
    "JobMetrics",
    "JobRun",
    "JobTimedOut",
    "JobTimings",
    "Kind",
    "LatestReport",
    "LogLine",
    "Message",
    "NodeFailed",
    "OutOfMemory",
    "Output",
    "OutputMissing",
    "OutputReady",
    "Preview",
    "Progress",
    "ResultKept",
    "Worker",
    "WorkerError",
    "WorkflowRejected",
]
