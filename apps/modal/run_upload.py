"""What stands behind `npx nx run <endpoint>:models`: `modal run upload_models.py` on the local clouds, or on Modal.

Whatever it does not know, such as --check, goes to upload_models.py.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LOCAL_CLOUDS = ".local-clouds/environment.json"
"""Where `npm run clouds` says how the local clouds are reached."""


class WrongTarget(Exception):
    """The target cannot be reached from here; the message says why."""


def environment(target: str, environ: Mapping[str, str], repository: Path) -> dict[str, str]:
    """Variables for the `modal` program. Local clouds replace all that could lead to an account. Raises WrongTarget."""
    if target == "cloud":
        server = environ.get("MODAL_SERVER_URL")
        if server is not None:
            raise WrongTarget(
                f"--target cloud is a real Modal account, but MODAL_SERVER_URL leads to {server}. Unset it."
            )
        return dict(environ)
    try:
        local: dict[str, str] = json.loads((repository / LOCAL_CLOUDS).read_text(encoding="utf-8"))[
            "environment"
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WrongTarget(
            f"The local clouds are not running: {LOCAL_CLOUDS} cannot be read. Start them with `npm run clouds`, "
            "or choose a real account with `--target cloud`."
        ) from error
    kept = {key: value for key, value in environ.items() if key not in ("MODAL_PROFILE", "MODAL_ENVIRONMENT")}
    return kept | local


def main() -> None:
    """Becomes the `modal` program."""
    parser = argparse.ArgumentParser(prog="run_upload.py", allow_abbrev=False)
    parser.add_argument("endpoint", type=Path, help="folder of the endpoint")
    parser.add_argument("--target", choices=("local", "cloud"), default="local")
    arguments, others = parser.parse_known_args()
    try:
        variables = environment(arguments.target, os.environ, REPOSITORY)
    except WrongTarget as error:
        sys.exit(str(error))
    name = arguments.endpoint.name
    where = "Modal" if arguments.target == "cloud" else f"local clouds ({variables['MODAL_SERVER_URL']})"
    print(f"Target: {where}\nEndpoint: {name}", flush=True)
    command = [sys.executable, "-m", "modal", "run", "upload_models.py", *others]
    os.chdir(REPOSITORY / "apps/modal")
    os.execve(sys.executable, command, variables | {"RYLA_ENDPOINT": name})  # noqa: S606


if __name__ == "__main__":
    main()
