"""A RunPod network volume copied to a Modal Volume, over RunPod's S3 API. Knows no cloud's client. Reads the source only."""

from .address import SECRET, Address, Keys
from .errors import ChangedDuringCopy, InvalidSource, ListingFailed, OtherFileThere, WrongBytes
from .options import CopyOptions
from .volume_copy import VolumeCopy

__all__ = [
    "SECRET",
    "Address",
    "ChangedDuringCopy",
    "CopyOptions",
    "InvalidSource",
    "Keys",
    "ListingFailed",
    "OtherFileThere",
    "VolumeCopy",
    "WrongBytes",
]
