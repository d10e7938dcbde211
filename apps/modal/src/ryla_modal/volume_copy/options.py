"""What a run is told, as it crosses to the container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..models import Limits
from .address import Address, address_of
from .errors import InvalidSource
from .layout import DEFAULT_ROOTS, refusal_of
from .plan import Selection


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """Checked by `make`."""

    address: Address
    selection: Selection = field(default_factory=Selection)
    bandwidth: float | None = None
    """Bytes a second, over all connections."""
    connections: int = Limits().connections
    overwrite: bool = False
    """Replace files of the volume that this copy did not bring."""
    reread: bool = False
    """Read every byte again where no checksum is known, instead of samples."""

    @classmethod
    def make(
        cls,
        *,
        data_center: str,
        volume_id: str,
        s3_url: str = "",
        runpod_url: str = "",
        roots: str = "",
        only: str = "",
        used_only: bool = False,
        bandwidth: float = 0,
        connections: int = 0,
        overwrite: bool = False,
        reread: bool = False,
    ) -> CopyOptions:
        """`roots` are separated by commas; `bandwidth` is in MB a second, 0 for no cap. Raises InvalidSource."""
        if not 0 <= bandwidth < 1e6:
            raise InvalidSource(f"--bandwidth {bandwidth:g} is no number of MB a second.")
        if not 0 <= connections <= 256:
            raise InvalidSource(f"--connections {connections} is not between 1 and 256.")
        return cls(
            address=address_of(data_center, volume_id, s3_url, runpod_url),
            selection=Selection(roots_of(roots), only, used_only),
            bandwidth=bandwidth * 1e6 or None,
            connections=connections or Limits().connections,
            overwrite=overwrite,
            reread=reread,
        )

    def to_json(self) -> dict[str, Any]:
        """For `from_json` in another process; holds no credentials."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> CopyOptions:
        """Reads what `to_json` wrote."""
        chosen: dict[str, Any] = document["selection"]
        selection = Selection(tuple(chosen["roots"]), chosen["only"], chosen["used_only"])
        values: dict[str, Any] = {
            **document,
            "address": Address(**document["address"]),
            "selection": selection,
        }
        return cls(**values)


def roots_of(text: str) -> tuple[str, ...]:
    """Key prefixes that end with `/`. Raises InvalidSource."""
    roots = [root.strip().strip("/") for root in text.split(",") if root.strip()]
    for root in roots:
        if not root or refusal_of(root):
            raise InvalidSource(
                f"--roots: {root!r} is no folder of the volume.",
                hint="Give key prefixes separated by commas, such as models,ComfyUI/models.",
            )
    return tuple(f"{root}/" for root in roots) or DEFAULT_ROOTS
