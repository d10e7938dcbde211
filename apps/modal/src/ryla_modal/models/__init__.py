"""Models of endpoints on a volume: downloaded, verified, shared, checked, pruned. Knows no cloud.

`missing_models` is a module of its own, for workers: nothing else here needs comfy_worker.
"""

from .download import Limits
from .errors import (
    ConflictingModels,
    HashMismatch,
    InvalidModel,
    ModelError,
    NotWritten,
    SourceMismatch,
    SourceRefused,
    SourceUnavailable,
)
from .ledger import LEDGER_FILE, Ledger, LedgerEntry
from .model_file import ModelFile, merge, read_endpoints, read_models, select, token_variable
from .model_store import Different, Findings, ModelStore
from .upload import Upload
from .volume_files import INCOMING_FOLDER

__all__ = [
    "INCOMING_FOLDER",
    "LEDGER_FILE",
    "ConflictingModels",
    "Different",
    "Findings",
    "HashMismatch",
    "InvalidModel",
    "Ledger",
    "LedgerEntry",
    "Limits",
    "ModelError",
    "ModelFile",
    "ModelStore",
    "NotWritten",
    "SourceMismatch",
    "SourceRefused",
    "SourceUnavailable",
    "Upload",
    "merge",
    "read_endpoints",
    "read_models",
    "select",
    "token_variable",
]
