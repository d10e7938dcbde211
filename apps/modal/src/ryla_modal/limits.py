"""What the gateway takes at most. docs/gateway.md holds the same numbers."""

from __future__ import annotations

MEBIBYTE = 1024 * 1024

JSON_BYTES = 16 * MEBIBYTE
"""Bytes of a JSON body."""

UPLOAD_BYTES = 100 * MEBIBYTE
"""Bytes of an upload (Comfy API v2: about 100 MB in one request)."""

WORKFLOW_BYTES = 8 * MEBIBYTE
"""Bytes of a workflow as compact JSON; a Modal Dict holds it beside the job's state."""

NODES = 20_000
"""Nodes of a workflow."""

FILES = 100
"""Assets that one workflow may refer to."""

JSON_DEPTH = 64
"""Levels of lists and objects; widgets nest a handful."""

INTEGER_BITS = 64
"""ComfyUI's seeds go to 2**64 - 1; no widget takes more."""

KEY_LENGTH = 255
"""Characters of an Idempotency-Key (the official SDKs refuse longer ones, too)."""

METADATA_PAIRS = 16
METADATA_KEY_LENGTH = 40
METADATA_VALUE_BYTES = 256
METADATA_FILTERS = 3
"""Labels of a job, as comfy-sdk 0.5.0 describes them."""

FILE_PATH_BYTES = 1024
"""Bytes of an asset's file_path."""

TAGS = 16
TAG_LENGTH = 100

PAGE_SIZE = 50
LARGEST_PAGE = 100
"""Jobs of one page of the list."""

SCANNED_PER_PAGE = 500
"""Jobs that a filter looks at before it answers with what it has and a cursor."""

STREAMS = 80
"""Event streams of one container, which takes 100 requests at once: some must remain for questions."""

URL_LENGTH = 2048
"""Characters of a webhook's address."""
