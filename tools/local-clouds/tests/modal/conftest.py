"""Fixtures for tests of the local Modal."""

from modal_cloud import cloud

__all__ = ["cloud"]
