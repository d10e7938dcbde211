"""Listings: pages, repeated tokens, answers that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from local_volume import Source
from ryla_modal.volume_copy import ListingFailed, VolumeCopy
from ryla_modal.volume_copy import inventory as inventory_module
from ryla_modal.volume_copy.bucket import read_page

MakeCopy = Callable[..., VolumeCopy]


@pytest.fixture
def many(make_source: Callable[..., Source]) -> Source:
    """2,300 files in one folder: three pages. Its first listing repeats its tokens, as RunPod's."""
    source = make_source(first_listing_files=2000, first_listing_repeats=7)
    (source.folder / "models/loras").mkdir(parents=True)
    for number in range(2300):
        (source.folder / f"models/loras/{number}").touch()
    return source


async def test_a_listing_that_repeats_its_token_is_waited_for_and_is_whole(
    many: Source, make_copy: MakeCopy, lines: list[str]
) -> None:
    plan = await make_copy(many).plan()
    assert len(plan["files"]) == 2300
    assert len([line for line in lines if "repeats a token" in line]) == 1
    assert many.operations["list"] == 1 + 1 + 3 + 7


async def test_a_token_that_is_repeated_for_ever_is_an_error_that_says_so(
    many: Source, make_copy: MakeCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory_module, "REPEATS", 10)
    many.fault("repeat-token")
    with pytest.raises(ListingFailed, match="repeats its continuation token"):
        await make_copy(many).plan()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"<Error><Code>X</Code></Error>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        b"<ListBucketResult><Contents><Key>k</Key><Size>x</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><Contents><Key>k</Key><Size>-1</Size></Contents></ListBucketResult>",
    ],
)
def test_what_is_no_listing_is_no_empty_listing(body: bytes) -> None:
    with pytest.raises((ValueError, SyntaxError)):
        read_page(body)


def test_keys_are_decoded_only_where_the_answer_says_that_they_are_encoded() -> None:
    def keys(extra: str) -> list[Any]:
        page = read_page(
            f"<ListBucketResult>{extra}<Contents><Key>a%20b</Key><Size>1</Size></Contents></ListBucketResult>".encode()
        )
        return [item.key for item in page.objects]

    assert keys("") == ["a%20b"]
    assert keys("<EncodingType>url</EncodingType>") == ["a b"]
