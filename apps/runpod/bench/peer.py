"""worker-comfyui's own handler, unmodified, out of a checkout: one job a line in, its milliseconds a line out.

`python peer.py CHECKOUT HOST:PORT`, with a Python that has the checkout's requirements.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the handler prints to standard output
    checkout = Path(sys.argv[1])
    sys.path[:0] = [str(checkout), str(checkout / "src")]
    import handler  # pyright: ignore[reportMissingImports]

    handler.COMFY_HOST = sys.argv[2]
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        begun = time.perf_counter()
        result = handler.handler(job)
        ended = time.perf_counter()
        made = len(result.get("images") or ()) if isinstance(result, dict) else 0
        print(json.dumps({"ms": (ended - begun) * 1000, "pictures": made}), file=answers, flush=True)


if __name__ == "__main__":
    main()
