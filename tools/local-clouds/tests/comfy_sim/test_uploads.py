"""Uploads and views: the four recorded upload scenarios, with bodies of our own."""

from __future__ import annotations

import io
import uuid
from typing import Any

import aiohttp
import pytest
from PIL import Image


def png(color: tuple[int, int, int] = (10, 20, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), color).save(buffer, "PNG")
    return buffer.getvalue()


async def upload(
    base_url: str, content: bytes | None, filename: str = "x.png", **fields: str
) -> tuple[int, Any]:
    form = aiohttp.FormData(quote_fields=False)
    for name, value in fields.items():
        form.add_field(name, value)
    if content is not None:
        form.add_field("image", content, filename=filename, content_type="image/png")
    else:
        form.add_field("nothing", "here", content_type="text/plain")
    async with aiohttp.ClientSession() as http, http.post(f"{base_url}/upload/image", data=form) as response:
        return response.status, await response.json() if response.status == 200 else None


async def view(base_url: str, **query: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as http, http.get(f"{base_url}/view", params=query) as response:
        return response.status, await response.read()


async def test_upload_is_answered_with_its_place(base_url: str) -> None:
    name = f"{uuid.uuid4().hex}.png"
    assert await upload(base_url, png(), name) == (200, {"name": name, "subfolder": "", "type": "input"})
    assert await view(base_url, filename=name, type="input") == (200, png())


async def test_upload_to_a_subfolder_of_temp(base_url: str) -> None:
    answer = await upload(base_url, png(), "x.png", subfolder="a/b", type="temp", overwrite="true")
    assert answer == (200, {"name": "x.png", "subfolder": "a/b", "type": "temp"})
    assert (await view(base_url, filename="x.png", subfolder="a/b", type="temp"))[0] == 200


async def test_upload_of_nothing_is_refused(base_url: str) -> None:
    assert (await upload(base_url, None))[0] == 400


@pytest.mark.parametrize(
    ("filename", "fields"), [("x.png", {"subfolder": "../../x"}), ("../../evil.png", {})]
)
async def test_upload_outside_is_refused(base_url: str, filename: str, fields: dict[str, str]) -> None:
    assert (await upload(base_url, png(), filename, **fields))[0] == 400


async def test_same_name_with_other_content_gets_another_name(base_url: str) -> None:
    name = f"{uuid.uuid4().hex}.png"
    await upload(base_url, png((1, 2, 3)), name)
    assert (await upload(base_url, png((1, 2, 3)), name))[1]["name"] == name
    assert (await upload(base_url, png((9, 9, 9)), name))[1]["name"] == name.replace(".png", " (1).png")
    assert (await upload(base_url, png((7, 7, 7)), name, overwrite="true"))[1]["name"] == name


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"filename": "../x.png"}, 400),
        ({"filename": "/etc/passwd"}, 400),
        ({"filename": "x.png", "subfolder": "../.."}, 403),
        ({"filename": "nothing-here.png"}, 404),
        ({"filename": "x.png", "type": "nonsense"}, 400),
    ],
)
async def test_view_of_hostile_paths(base_url: str, query: dict[str, str], status: int) -> None:
    assert (await view(base_url, **query))[0] == status


async def test_view_gives_a_preview(base_url: str) -> None:
    await upload(base_url, png(), "preview.png", overwrite="true")
    status, body = await view(base_url, filename="preview.png", type="input", preview="webp;80")
    assert status == 200
    assert Image.open(io.BytesIO(body)).format == "WEBP"
