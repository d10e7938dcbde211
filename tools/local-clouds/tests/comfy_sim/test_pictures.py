"""Model-free nodes make the pictures that the real ones made, sample by sample."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image

ORACLE = Path(__file__).parent / "fixtures" / "oracle" / "images"
CASES = sorted(path.stem for path in ORACLE.glob("*.json"))
LARGEST_DIFFERENCE = 3
"""Of 255. Every case is within it: none needs a bound of its own."""


@pytest.fixture(scope="module")
def inputs_there(base_url: str) -> None:
    async def put() -> None:
        async with aiohttp.ClientSession() as http:
            for file in ORACLE.glob("input_*.png"):
                form = aiohttp.FormData()
                form.add_field("overwrite", "true")
                form.add_field("image", file.read_bytes(), filename=file.name.removeprefix("input_"))
                async with http.post(f"{base_url}/upload/image", data=form) as response:
                    assert response.status == 200

    asyncio.run(put())


def test_all_cases_are_here() -> None:
    assert len(CASES) == 59


@pytest.mark.parametrize("name", CASES)
async def test_picture(base_url: str, inputs_there: None, name: str) -> None:
    prompt = json.loads((ORACLE / f"{name}.json").read_text(encoding="utf-8"))
    async with aiohttp.ClientSession() as http:
        pictures = await run(http, base_url, prompt)
    expected = sorted(ORACLE.glob(f"{name}.[0-9]*.png"))
    assert len(pictures) == len(expected)
    for picture, file in zip(pictures, expected, strict=True):
        got, want = samples(picture), samples(file.read_bytes())
        assert got.shape == want.shape
        assert int(np.abs(got - want).max()) <= LARGEST_DIFFERENCE


def samples(content: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).astype(int)


async def run(http: aiohttp.ClientSession, base_url: str, prompt: Any) -> list[bytes]:
    async with http.ws_connect(f"{base_url}/ws?clientId=pictures") as socket:
        async with http.post(
            f"{base_url}/prompt", json={"prompt": prompt, "client_id": "pictures"}
        ) as response:
            assert response.status == 200, await response.text()
            prompt_id = (await response.json())["prompt_id"]
        async for raw in socket:
            if raw.type is aiohttp.WSMsgType.TEXT:
                message = json.loads(raw.data)
                if message["type"] == "executing" and message["data"]["node"] is None:
                    break
    async with http.get(f"{base_url}/history/{prompt_id}") as response:
        outputs = (await response.json())[prompt_id]["outputs"]
    pictures: list[bytes] = []
    for output in outputs.values():
        for file in output.get("images", []):
            async with http.get(f"{base_url}/view", params=file) as response:
                pictures.append(await response.read())
    return pictures
