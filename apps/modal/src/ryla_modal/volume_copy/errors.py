"""What can go wrong with a copy, each with a stable code; the base is that of the model files."""

from __future__ import annotations

from ..models import ModelError


class InvalidSource(ModelError):
    """The source's address, data centre, volume id or options cannot be used."""

    code = "invalid_source"


class ListingFailed(ModelError):
    """The source's files cannot be listed: it fails, or repeats itself for too long."""

    code = "listing_failed"


class ChangedDuringCopy(ModelError):
    """The file has another version than the one that was listed; it is listed and copied again."""

    code = "changed_during_copy"


class WrongBytes(ModelError):
    """What arrived is not what the source's checksum, its samples or endpoint.json say."""

    code = "wrong_bytes"


class OtherFileThere(ModelError):
    """Another file, which this copy did not bring, is at the place on the volume."""

    code = "other_file_there"
