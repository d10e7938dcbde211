"""A local Modal: the control plane and web gateway that the real client deploys to."""

from .server import LocalModal, ModalSettings

__all__ = ["LocalModal", "ModalSettings"]
