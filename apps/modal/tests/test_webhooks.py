"""Webhooks: signed, retried, never to a host that is not public."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from comfy_worker.public_address import is_public_address
from ryla_modal.api_error import ApiError
from ryla_modal.dispatcher import CallOutcome
from ryla_modal.gateway import Gateway
from ryla_modal.webhooks import (
    InProcessNotifier,
    PublicResolver,
    WebhookSender,
    check_webhook_url,
    parse_secrets,
    sign,
)

Bench = Any
KEY = b"k" * 24
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass
class Receiver:
    """A server that notes what it is sent and answers with `answers`, then 204."""

    url: str = ""
    answers: list[bytes] = field(default_factory=list[bytes])
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list[tuple[dict[str, str], bytes]])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head)}
        self.received.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = self.answers.pop(0) if self.answers else b"204 No Content"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server:
        yield made


@contextlib.asynccontextmanager
async def notified(
    bench: Bench, open_client: Callable[..., httpx.AsyncClient], *, private: bool = True
) -> AsyncIterator[tuple[httpx.AsyncClient, InProcessNotifier]]:
    sender = WebhookSender(bench.jobs, [KEY], allow_private=private, retry_seconds=(0, 0))
    notifier = InProcessNotifier(sender)
    gateway = Gateway(bench.jobs, bench.store, bench.files, notifier=notifier, private_webhooks=private)
    async with open_client(gateway.application()) as client:
        try:
            yield client, notifier
        finally:
            await notifier.close()


async def told(client: httpx.AsyncClient, job_id: str, state: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            webhook = (await client.get(f"/api/ryla/jobs/{job_id}")).json()["webhook"]
            if webhook["state"] == state:
                return webhook
            await asyncio.sleep(0.01)


def verify(headers: dict[str, str], body: bytes) -> None:
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


async def test_a_jobs_end_is_told_signed_until_it_is_taken(
    bench: Bench,
    picture: dict[str, Any],
    receiver: Receiver,
    open_client: Callable[..., httpx.AsyncClient],
) -> None:
    receiver.answers = [b"500 No", b"307 Temporary Redirect\r\nLocation: /elsewhere"]
    async with notified(bench, open_client) as (client, _):
        body = {"workflow": picture, "metadata": {"client": "acme"}}
        headers = {"Ryla-Webhook-Url": receiver.url}
        job = (await client.post("/api/v2/jobs", json=body, headers=headers)).json()
        assert receiver.received == []
        # The worker is lost and nobody asks for the job: its end is told all the same.
        bench.dispatcher.outcomes[f"call-{job['id']}"] = CallOutcome("lost", "container was killed")
        assert (await told(client, job["id"], "delivered"))["attempts"] == 3
    for sent, content in receiver.received:
        verify(sent, content)
    assert {sent["webhook-id"] for sent, _ in receiver.received} == {f"msg_{job['id']}"}
    message = json.loads(receiver.received[0][1])
    assert message["type"] == "job.failed"
    assert message["data"]["jobId"] == job["id"]
    assert message["data"]["error"]["code"] == "worker_lost"
    assert message["data"]["metadata"] == {"client": "acme"}
    assert "EmptyImage" not in receiver.received[0][1].decode()


async def test_a_receiver_that_never_takes_it_is_given_up(
    bench: Bench, picture: dict[str, Any], receiver: Receiver, open_client: Callable[..., httpx.AsyncClient]
) -> None:
    receiver.answers = [b"500 No"] * 10
    async with notified(bench, open_client) as (client, _):
        headers = {"Ryla-Webhook-Url": receiver.url}
        job = (await client.post("/api/v2/jobs", json={"workflow": picture}, headers=headers)).json()
        await client.post(job["urls"]["cancel"])
        webhook = await told(client, job["id"], "failed")
    assert (webhook["attempts"], webhook["error"]) == (3, "it answered 500")


async def test_a_message_that_was_delivered_is_not_sent_again_by_a_second_sender(
    bench: Bench, picture: dict[str, Any], receiver: Receiver
) -> None:
    job = await bench.jobs.submit(picture, webhook_url=receiver.url)
    await bench.jobs.cancel(job["id"])
    for _ in range(2):
        assert await WebhookSender(bench.jobs, [KEY], allow_private=True).run(job["id"])
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fd00::1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.1.2.3:8443/",
        "https://user:secret@example.com/",
        "https:///path",
        "https://example.com:99999/",
        "https://example.com\\@127.0.0.1/",
        "https://exa mple.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "//example.com",
        "https://example.com/\r\nX: y",
        "https://bücher.example/",
        "https://example.com/" + "a" * 3000,
        7,
    ],
)
async def test_addresses_that_are_no_public_https_are_refused(
    bench: Bench, picture: dict[str, Any], open_client: Callable[..., httpx.AsyncClient], url: Any
) -> None:
    with pytest.raises(ApiError) as caught:
        check_webhook_url(url)
    assert (caught.value.status, caught.value.code) == (422, "untrusted_url")
    assert bench.dispatcher.calls == []


async def test_a_job_whose_end_nobody_would_tell_does_not_run(
    bench: Bench, picture: dict[str, Any], open_client: Callable[..., httpx.AsyncClient]
) -> None:
    class Broken:
        async def watch(self, job_id: str) -> None:
            raise ConnectionError(job_id)

    gateway = Gateway(bench.jobs, bench.store, bench.files, notifier=Broken())
    async with open_client(gateway.application()) as client:
        headers = {"Ryla-Webhook-Url": "https://example.com/"}
        response = await client.post("/api/v2/jobs", json={"workflow": picture}, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (500, "upstream_error")
        bench.advance(61)
        (job,) = (await client.get("/api/v2/jobs")).json()["jobs"]
    assert (job["status"], bench.dispatcher.calls) == ("failed", [])


async def test_a_refused_address_refuses_the_job(
    bench: Bench, picture: dict[str, Any], open_client: Callable[..., httpx.AsyncClient]
) -> None:
    async with notified(bench, open_client, private=False) as (client, _):
        headers = {"Ryla-Webhook-Url": "https://192.168.0.1/"}
        response = await client.post("/api/v2/jobs", json={"workflow": picture}, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (422, "untrusted_url")
    assert bench.dispatcher.calls == []


@pytest.mark.parametrize("name", ["localhost", "2130706433", "0x7f.1", "127.1"])
async def test_a_name_is_judged_by_what_it_resolves_to(
    bench: Bench, picture: dict[str, Any], receiver: Receiver, name: str
) -> None:
    with pytest.raises(OSError, match="not a public host"):
        await PublicResolver().resolve(name, 443)
    port = receiver.url.split(":")[2].split("/")[0]
    job = await bench.jobs.submit(picture, webhook_url=f"https://{name}:{port}/")
    await bench.jobs.cancel(job["id"])
    assert not await WebhookSender(bench.jobs, [KEY], retry_seconds=()).run(job["id"])
    assert receiver.received == []
    assert (await bench.jobs.webhook(job["id"]))["state"] == "failed"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("224.0.0.1", False),
        ("2002:7f00:1::", False),
        ("2001::1", False),
        ("fe80::1%eth0", False),
        ("no address", False),
    ],
)
def test_public_addresses(address: str, expected: bool) -> None:
    assert is_public_address(address) is expected


def test_secrets_are_checked_and_never_shown() -> None:
    assert parse_secrets(f"{SECRET}, {SECRET}") == (KEY, KEY)
    for wrong in ("whsec_short", "nothing", SECRET[6:], "whsec_" + base64.b64encode(b"k" * 65).decode()):
        with pytest.raises(ValueError) as caught:
            parse_secrets(f"{SECRET} {wrong}")
        assert wrong not in str(caught.value)


def test_a_message_is_signed_as_standard_webhooks_has_it() -> None:
    """The example of the specification's reference libraries."""
    (key,) = parse_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert len(sign([key, key], "a", 1, b"")["webhook-signature"].split(" ")) == 2
