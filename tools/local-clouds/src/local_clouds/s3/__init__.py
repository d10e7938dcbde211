"""RunPod's network volumes as an S3 API: a folder's files as objects, with RunPod's quirks and with faults."""

from .objects import ObjectStore, StoredObject
from .server import FAULTS, LocalS3, S3Settings

__all__ = ["FAULTS", "LocalS3", "ObjectStore", "S3Settings", "StoredObject"]
