"""An S3-compatible bucket for results that RunPod does not deliver, configured as the community's worker is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

EXPIRES_SECONDS = 7 * 24 * 3600
"""For which an output's address is valid: the longest that Signature Version 4 allows."""


@dataclass(frozen=True)
class ResultBucket:
    """Where outputs are put; its address ends with the bucket's name, as in https://s3.example.com/bucket."""

    url: str
    access_key_id: str
    secret_access_key: str
    region: str = "auto"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> ResultBucket | None:
        """Reads BUCKET_ENDPOINT_URL, BUCKET_ACCESS_KEY_ID, BUCKET_SECRET_ACCESS_KEY; None without the first.

        Raises ValueError when the address names no bucket or a key is missing.
        """
        url = environ.get("BUCKET_ENDPOINT_URL", "").rstrip("/")
        if not url:
            return None
        key, secret = environ.get("BUCKET_ACCESS_KEY_ID", ""), environ.get("BUCKET_SECRET_ACCESS_KEY", "")
        if not key or not secret:
            raise ValueError("BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY must be set, too.")
        if len(urlsplit(url).path) < 2 or urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(
                "BUCKET_ENDPOINT_URL must end with the bucket's name: https://s3.example.com/bucket."
            )
        return cls(url, key, secret, environ.get("BUCKET_REGION") or "auto")

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self.url.rpartition("/")[2]

    def client(self, **options: Any) -> Any:
        """A client of the AWS SDK; `options` are those of its Config."""
        import boto3  # pyright: ignore[reportMissingTypeStubs]  # slow to import
        from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]

        endpoint, _, _ = self.url.rpartition("/")
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            # Not every S3 takes the SDK's own checksums, which come as a body in pieces.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            **options,
        )
        return boto3.client(  # pyright: ignore[reportUnknownMemberType]
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name=self.region,
            config=config,
        )

    @cached_property
    def _client(self) -> Any:
        return self.client(retries={"max_attempts": 4})

    async def put(self, key: str, content: bytes, content_type: str) -> str:
        """Stores an output; returns an address from which anyone can fetch it until EXPIRES_SECONDS are over."""
        place = {"Bucket": self.name, "Key": key}
        await asyncio.to_thread(self._client.put_object, **place, Body=content, ContentType=content_type)
        return self._client.generate_presigned_url("get_object", Params=place, ExpiresIn=EXPIRES_SECONDS)
