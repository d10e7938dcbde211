"""What can go wrong with a model file, each with a stable code and what to do about it."""

from __future__ import annotations


class ModelError(Exception):
    """Base of the errors about model files. `message` names the file, `hint` says what to do next."""

    code = "model_error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message} {hint}")
        self.message = message
        self.hint = hint

    def to_json(self) -> dict[str, str]:
        """For reports that cross a process; a hint that there is not is left out."""
        document = {"code": self.code, "message": self.message, "hint": self.hint}
        return {key: value for key, value in document.items() if value is not None}


class InvalidModel(ModelError):
    """An entry of `models` cannot be used: its place, its address, its size or its hash."""

    code = "invalid_model"


class ConflictingModels(ModelError):
    """Two endpoints want different files at one place."""

    code = "conflicting_models"


class SourceRefused(ModelError):
    """The source says no, and will say it again: credentials, a wrong address."""

    code = "source_refused"


class SourceMismatch(ModelError):
    """The source has a file of another size, or in another form, than endpoint.json says."""

    code = "source_mismatch"


class HashMismatch(ModelError):
    """The source's bytes are not those that endpoint.json pins."""

    code = "hash_mismatch"


class SourceUnavailable(ModelError):
    """The source failed too often without a byte in between."""

    code = "source_unavailable"


class NotWritten(ModelError):
    """The volume does not take the bytes: no space, no right."""

    code = "not_written"
