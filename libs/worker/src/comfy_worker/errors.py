"""Everything that can go wrong with a job, each with a stable code and what to do about it."""

from __future__ import annotations

from typing import Any


class WorkerError(Exception):
    """Base of the worker's errors. `code` is stable; `message` says what happened, `hint` what to do next."""

    code = "worker_error"
    retryable = False
    """Whether the same job may succeed when it is run again."""

    def __init__(
        self,
        message: str,
        *,
        job_id: str | None = None,
        node_id: str | None = None,
        class_type: str | None = None,
        details: Any = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.job_id = job_id
        self.node_id = node_id
        self.class_type = class_type
        self.details = details
        """Machine-readable particulars, such as ComfyUI's node_errors."""
        self.hint = hint

    def to_json(self) -> dict[str, Any]:
        """The error as both clouds report it; keys without a value are left out."""
        document = {
            "code": self.code,
            "message": self.message,
            "jobId": self.job_id,
            "nodeId": self.node_id,
            "classType": self.class_type,
            "details": self.details,
            "hint": self.hint,
            "retryable": self.retryable,
        }
        return {key: value for key, value in document.items() if value is not None}


class EngineNotConfigured(WorkerError):
    """Neither COMFYUI_URL nor COMFYUI_DIR says which ComfyUI to use."""

    code = "engine_not_configured"


class EngineUnavailable(WorkerError):
    """ComfyUI could not be started or reached."""

    code = "engine_unavailable"
    retryable = True


class EngineCrashed(WorkerError):
    """ComfyUI ended while the job was running, or hung, which `details.reason` says, and was ended."""

    code = "engine_crashed"
    retryable = True


class WorkflowRejected(WorkerError):
    """ComfyUI refused the workflow before running it; `details` holds its node_errors."""

    code = "invalid_workflow"


class NodeFailed(WorkerError):
    """A node raised an error."""

    code = "node_execution_error"


class OutOfMemory(NodeFailed):
    """A node ran out of GPU memory."""

    code = "out_of_memory"


class JobAlreadyClaimed(WorkerError):
    """Another delivery of the same job runs it, or has its result; `details` says which."""

    code = "already_claimed"


class JobCanceled(WorkerError):
    """The job was canceled: by its caller, or by an interrupt at ComfyUI."""

    code = "canceled"


class JobTimedOut(WorkerError):
    """The job took longer than it may."""

    code = "timed_out"


class InputFileRejected(WorkerError):
    """An input file has a name that leads elsewhere, or ComfyUI did not take it."""

    code = "invalid_input_file"


class OutputMissing(WorkerError):
    """An output that ComfyUI named could not be read, or points outside its folders."""

    code = "output_missing"
