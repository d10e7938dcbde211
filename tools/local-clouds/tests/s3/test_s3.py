"""A network volume as the AWS SDK meets it: what works, what RunPod refuses, and the faults."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_clouds.s3 import LocalS3, S3Settings
from local_clouds.s3.uploads import PART_BYTES

botocore = pytest.importorskip("botocore.session")
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError, ConnectionClosedError  # noqa: E402

BUCKET = "local-volume"


class Volume:
    """The server in a thread, and a client for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.server = LocalS3(S3Settings(folder, first_listing_files=1500))
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(30)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def client(self, *, region: str = "EU-RO-1", key: str = "user_local", secret: str = "rps_local") -> Any:
        return botocore.get_session().create_client(
            "s3",
            region_name=region,
            endpoint_url=self.server.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(
                retries={"max_attempts": 0},
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    made = Volume(tmp_path)
    yield made
    made.close()


def code(error: Any) -> str:
    return error.value.response["Error"]["Code"]


def test_objects_are_files_both_ways(volume: Volume) -> None:
    s3 = volume.client()
    s3.put_object(Bucket=BUCKET, Key="models/vae/a b+ü%.bin", Body=b"0123456789")
    assert (volume.folder / "models/vae/a b+ü%.bin").read_bytes() == b"0123456789"
    (volume.folder / "models/c").write_bytes(b"by hand")
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="models/", Delimiter="/")
    assert [item["Key"] for item in listed["Contents"]] == ["models/c"]
    assert [item["Prefix"] for item in listed["CommonPrefixes"]] == ["models/vae/"]
    every = s3.list_objects_v2(Bucket=BUCKET)
    assert [item["Key"] for item in every["Contents"]] == ["models/c", "models/vae/a b+ü%.bin"]
    etag = f'"{hashlib.md5(b"0123456789").hexdigest()}"'
    assert every["Contents"][1]["ETag"] == etag
    got = s3.get_object(Bucket=BUCKET, Key="models/vae/a b+ü%.bin", Range="bytes=2-4", IfMatch=etag)
    assert (got["Body"].read(), got["ContentRange"]) == (b"234", "bytes 2-4/10")
    assert s3.head_object(Bucket=BUCKET, Key="models/c")["ContentLength"] == 7
    with pytest.raises(ClientError) as other:
        s3.get_object(Bucket=BUCKET, Key="models/c", IfMatch='"x"')
    assert code(other) == "PreconditionFailed"
    s3.delete_object(Bucket=BUCKET, Key="models/c")
    with pytest.raises(ClientError) as gone:
        s3.get_object(Bucket=BUCKET, Key="models/c")
    assert code(gone) == "NoSuchKey"


def test_a_file_in_parts(volume: Volume) -> None:
    s3 = volume.client()
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="models/big")["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(Bucket=BUCKET, Key="models/big", UploadId=upload, PartNumber=n, Body=b"%d" % n)["ETag"]}
        for n in (1, 2)
    ]  # fmt: skip
    assert not s3.list_objects_v2(Bucket=BUCKET).get("Contents")
    s3.complete_multipart_upload(
        Bucket=BUCKET, Key="models/big", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    assert (volume.folder / "models/big").read_bytes() == b"12"
    assert not list((volume.folder / ".s3-uploads").iterdir())


def test_puts_with_a_condition(volume: Volume) -> None:
    s3 = volume.client()
    place = {"Bucket": BUCKET, "Key": "claims/a"}
    first = s3.put_object(**place, Body=b"1", IfNoneMatch="*")["ETag"]
    second = s3.put_object(**place, Body=b"2", IfMatch=first)["ETag"]
    assert first != second
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": first}):
        with pytest.raises(ClientError) as refused:
            s3.put_object(**place, Body=b"3", **condition)
        assert code(refused) == "PreconditionFailed"
    with pytest.raises(ClientError) as missing:
        s3.put_object(Bucket=BUCKET, Key="claims/b", Body=b"1", IfMatch=first)
    assert code(missing) == "NoSuchKey"
    assert (volume.folder / "claims/a").read_bytes() == b"2"
    assert not list((volume.folder / ".s3-uploads").iterdir())
    for fault, expected in (
        ("refuse-conditions:1", "NotImplemented"),
        ("conflict", "ConditionalRequestConflict"),
    ):
        volume.server.faults.add(fault)
        with pytest.raises(ClientError) as strange:
            s3.put_object(**place, Body=b"3", IfMatch=second)
        assert code(strange) == expected
        volume.server.faults.remove()
    volume.server.faults.add("ignore-conditions")
    s3.put_object(**place, Body=b"4", IfNoneMatch="*")
    assert (volume.folder / "claims/a").read_bytes() == b"4"


def test_the_answer_to_a_put_is_lost_before_or_after_it_is_written(volume: Volume) -> None:
    s3 = volume.client()
    volume.server.faults.add("reset-put")
    for number in range(20):
        with pytest.raises(ConnectionClosedError):
            s3.put_object(Bucket=BUCKET, Key=f"lost/{number}", Body=b"1")
    written = len(list((volume.folder / "lost").iterdir()))
    assert 0 < written < 20


def test_two_writes_at_the_same_time_of_the_file_system_have_two_etags(volume: Volume) -> None:
    s3 = volume.client()
    etags: set[str] = set()
    for number in range(50):
        etags.add(s3.put_object(Bucket=BUCKET, Key="a", Body=b"%02d" % number)["ETag"])
        os.utime(volume.folder / "a", (0, 0))
        assert s3.head_object(Bucket=BUCKET, Key="a")["ETag"] in etags
    assert len(etags) == 50


def test_what_runpod_refuses(volume: Volume) -> None:
    s3 = volume.client()
    (volume.folder / "a").write_bytes(b"a")
    with pytest.raises(ClientError) as several:
        s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "a"}]})
    assert code(several) == "NotImplemented"
    assert (volume.folder / "a").exists()
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "a"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(presigned)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{volume.server.url}/{BUCKET}/a")
    refused = {
        "AuthorizationHeaderMalformed": volume.client(region="us-east-1"),
        "SignatureDoesNotMatch": volume.client(secret="other"),
        "InvalidAccessKeyId": volume.client(key="user_other"),
    }
    for expected, client in refused.items():
        with pytest.raises(ClientError) as error:
            client.get_object(Bucket=BUCKET, Key="a")
        assert code(error) == expected
    with pytest.raises(ClientError) as elsewhere:
        s3.get_object(Bucket="other", Key="a")
    assert code(elsewhere) == "NoSuchBucket"
    request = urllib.request.Request(f"{volume.server.url}/_local/state")
    assert json.load(urllib.request.urlopen(request))["operations"]["POST delete"] == 1
    assert PART_BYTES == 500_000_000


def test_the_first_listing_of_a_large_volume_repeats_its_token(volume: Volume) -> None:
    (volume.folder / "d").mkdir()
    for number in range(1600):
        (volume.folder / f"d/{number}").touch()
    s3 = volume.client()
    first = s3.list_objects_v2(Bucket=BUCKET, Prefix="d/")
    token = first["NextContinuationToken"]
    repeated = [s3.list_objects_v2(Bucket=BUCKET, Prefix="d/", ContinuationToken=token) for _ in range(3)]
    assert {page["NextContinuationToken"] for page in repeated} == {token}
    last = s3.list_objects_v2(Bucket=BUCKET, Prefix="d/", ContinuationToken=token)
    assert not last["IsTruncated"]
    assert len({item["Key"] for page in (first, last) for item in page["Contents"]}) == 1600


def test_faults(volume: Volume) -> None:
    content = bytes(3 << 20)
    (volume.folder / "f").write_bytes(content)
    s3 = volume.client()

    def get() -> bytes:
        return s3.get_object(Bucket=BUCKET, Key="f")["Body"].read()

    def switch(*specs: str) -> None:
        body = json.dumps(specs).encode()
        request = urllib.request.Request(f"{volume.server.url}/_local/faults", data=body, method="PUT")
        urllib.request.urlopen(request)

    for fault in ("reset:1", "truncate:1", "http-error=get/503:1", "rate-limit:1"):
        switch(fault)
        with pytest.raises(Exception):  # noqa: B017 - each its own
            get()
        assert get() == content, fault
    switch("wrong-byte:1")
    wrong = get()
    assert (len(wrong), sum(a != b for a, b in zip(wrong, content, strict=True))) == (len(content), 1)
    assert get() == content


def test_keys_that_no_file_could_have(volume: Volume) -> None:
    for key in ("../up", "/abs", "a//b", "n\0l", "new\nline"):
        volume.server.store.hold(key, b"x")
    s3 = volume.client()
    assert {item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]} == set(
        volume.server.store.held
    )
    top = s3.list_objects_v2(Bucket=BUCKET, Delimiter="/")
    assert {item["Prefix"] for item in top["CommonPrefixes"]} == {"../", "/", "a/"}
    with pytest.raises(ClientError):
        s3.put_object(Bucket=BUCKET, Key="a/../../b", Body=b"")
