"""What a person reads, and the exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from unittest.mock import patch

import pytest
from local_volume import KB, MB, Source, bytes_of
from ryla_modal.volume_copy import VolumeCopy
from ryla_modal.volume_copy.__main__ import main
from ryla_modal.volume_copy.report import LISTED, Price, print_check, print_copy, print_plan

MakeCopy = Callable[..., VolumeCopy]
PRICE = Price.of(
    {"cpuCorePerSecond": 0.0000131, "memoryGibPerSecond": 0.00000222, "date": "2026-11-24"}, 4, 4
)


async def test_a_plan_a_copy_and_a_check_are_told(source: Source, make_copy: MakeCopy) -> None:
    source.put("models/vae/a", bytes_of(1, 5 * MB))
    for number in range(LISTED + 5):
        source.put(f"models/loras/{number}", b"%d" % number)
    source.s3.store.hold("models/\x1b[31m/../x", b"x")
    source.put("output/picture.png", b"x")
    said: list[str] = []
    assert print_plan(await make_copy(source).plan(), PRICE, said.append) == 0
    text = "\n".join(said)
    assert "models/loras/: 25 files, 40 B" in text
    assert "no endpoint uses them (--used-only leaves them out): 26 files, 5 MB" in text
    assert "… and 6 more, in --json" in text
    assert "\x1b" not in text
    assert "\\x1b[31m" in text
    assert "output/" in text
    assert "as just measured, $0.00 of Modal's CPU at prices of 2026-11-24." in text
    said.clear()
    assert print_copy(await make_copy(source).copy(), said.append) == 1
    assert said[0].startswith("Files: 26 copied, 5 MB in ")
    assert "Not every file" in said[-1]
    said.clear()
    assert print_check(await make_copy(source, only="loras/*").check(), said.append) == 0
    source.put("models/loras/1", b"new")
    assert print_check(await make_copy(source, only="loras/*").check(), said.append) == 1
    assert "  loras/1: the source has another version" in said


async def test_samples_are_said_for_each_file(
    make_source: Callable[..., Source], make_copy: MakeCopy
) -> None:
    source = make_source(etags="opaque")
    source.put("models/large", bytes_of(1, 5 * MB))
    source.put("models/small", bytes_of(2, 5 * KB))
    said: list[str] = []
    print_copy(await make_copy(source).copy(), said.append)
    at = said.index("Verified by samples only, since no checksum is known (--reread reads them whole):")
    assert said[at + 1] == "  large"
    assert "  small" not in said


@pytest.mark.parametrize("mode", [[], ["--plan"], ["--check"]])
def test_the_command_without_modal(
    source: Source, tmp_path: object, mode: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source.put("models/a", b"a")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "user_local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "rps_local")
    given = ["x", "--volume", str(tmp_path), "--data-center", "EU-RO-1", "--volume-id", "local-volume"]
    out = io.StringIO()
    argv = [*given, "--s3-url", source.s3.url, "--json", *mode]
    with patch.object(sys, "argv", argv), contextlib.redirect_stdout(out):
        code = main()
    assert (code, json.loads(out.getvalue())["mode"]) == (
        1 if mode == ["--check"] else 0,
        mode[0][2:] if mode else "copy",
    )
