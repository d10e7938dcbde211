"""Secrets, dicts and queues."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from ..records import Named
from ..rpc import streaming, unary, until
from .base import Service


@dataclass
class QueueContent:
    """Partitions of a queue, and an event that tells of new values."""

    partitions: dict[bytes, deque[bytes]] = field(default_factory=lambda: defaultdict(deque))
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, partition: bytes, values: list[bytes]) -> None:
        """Adds values and wakes who waits."""
        self.partitions[partition].extend(values)
        event, self.arrived = self.arrived, asyncio.Event()
        event.set()


class StorageService(Service):
    """Named key-value things."""

    @unary
    async def SecretGetOrCreate(self, request: Any) -> Any:
        secret = self.get_or_create(self.state.secrets, request, lambda _: dict(request.env_dict))
        missing = [key for key in request.required_keys if key not in secret.content]
        if missing:
            raise GRPCError(
                Status.FAILED_PRECONDITION,
                f"Secret '{secret.name}' is missing required keys: {', '.join(missing)}",
            )
        return api_pb2.SecretGetOrCreateResponse(secret_id=secret.id, metadata=self._secret_metadata(secret))

    def _secret_metadata(self, secret: Named) -> Any:
        return api_pb2.SecretMetadata(
            name=secret.name,
            creation_info=self.creation(secret),
            keys=sorted(secret.content),
            environment_name=secret.environment,
        )

    @unary
    async def SecretGetInfo(self, request: Any) -> Any:
        secret = self.by_id(self.state.secrets, request.secret_id)
        return api_pb2.SecretGetInfoResponse(metadata=self._secret_metadata(secret))

    @unary
    async def SecretUpdate(self, request: Any) -> Any:
        content = self.by_id(self.state.secrets, request.secret_id).content
        for update in request.updates:
            if update.HasField("value"):
                content[update.key] = update.value
            else:
                content.pop(update.key, None)
        return Empty()

    @unary
    async def SecretList(self, request: Any) -> Any:
        environment = self.environment(request.environment_name)
        items = [
            api_pb2.SecretListItem(
                label=item.name,
                secret_id=item.id,
                created_at=item.created_at,
                metadata=self._secret_metadata(item),
            )
            for item in self.state.secrets.named(environment)
            if item.created_at < (request.pagination.created_before or float("inf"))
        ]
        return api_pb2.SecretListResponse(items=items, environment_name=environment)

    @unary
    async def SecretDelete(self, request: Any) -> Any:
        self.state.secrets.by_id.pop(request.secret_id, None)
        return Empty()

    @unary
    async def DictGetOrCreate(self, request: Any) -> Any:
        item = self.get_or_create(
            self.state.dicts, request, lambda _: {entry.key: entry.value for entry in request.data}
        )
        return api_pb2.DictGetOrCreateResponse(dict_id=item.id, metadata=self._dict_metadata(item))

    def _dict_metadata(self, item: Named) -> Any:
        return api_pb2.DictMetadata(name=item.name, creation_info=self.creation(item))

    @unary
    async def DictGetById(self, request: Any) -> Any:
        item = self.by_id(self.state.dicts, request.dict_id)
        return api_pb2.DictGetByIdResponse(dict_id=item.id, metadata=self._dict_metadata(item))

    def _dict(self, request: Any) -> dict[bytes, bytes]:
        return self.by_id(self.state.dicts, request.dict_id).content

    @unary
    async def DictUpdate(self, request: Any) -> Any:
        content = self._dict(request)
        created = not any(update.key in content for update in request.updates)
        if created or not request.if_not_exists:
            content.update({update.key: update.value for update in request.updates})
        return api_pb2.DictUpdateResponse(created=created)

    @unary
    async def DictGet(self, request: Any) -> Any:
        value = self._dict(request).get(request.key)
        return api_pb2.DictGetResponse(found=value is not None, value=value)

    @unary
    async def DictPop(self, request: Any) -> Any:
        value = self._dict(request).pop(request.key, None)
        return api_pb2.DictPopResponse(found=value is not None, value=value)

    @unary
    async def DictContains(self, request: Any) -> Any:
        return api_pb2.DictContainsResponse(found=request.key in self._dict(request))

    @unary
    async def DictLen(self, request: Any) -> Any:
        return api_pb2.DictLenResponse(len=len(self._dict(request)))

    @unary
    async def DictClear(self, request: Any) -> Any:
        self._dict(request).clear()
        return Empty()

    @unary
    async def DictDelete(self, request: Any) -> Any:
        self.state.dicts.by_id.pop(request.dict_id, None)
        return Empty()

    @streaming
    async def DictContents(self, request: Any) -> AsyncIterator[Any]:
        for key, value in list(self._dict(request).items()):
            yield api_pb2.DictEntry(key=key if request.keys else b"", value=value if request.values else b"")

    @unary
    async def DictHeartbeat(self, request: Any) -> Any:
        return Empty()

    @unary
    async def DictList(self, request: Any) -> Any:
        environment = self.environment(request.environment_name)
        infos = [
            api_pb2.DictListResponse.DictInfo(
                name=item.name,
                created_at=item.created_at,
                dict_id=item.id,
                metadata=self._dict_metadata(item),
            )
            for item in self.state.dicts.named(environment)
            if item.created_at < (request.pagination.created_before or float("inf"))
        ]
        return api_pb2.DictListResponse(dicts=infos, environment_name=environment)

    @unary
    async def QueueGetOrCreate(self, request: Any) -> Any:
        item = self.get_or_create(self.state.queues, request, lambda _: QueueContent())
        return api_pb2.QueueGetOrCreateResponse(queue_id=item.id, metadata=self._queue_metadata(item))

    def _queue_metadata(self, item: Named) -> Any:
        return api_pb2.QueueMetadata(name=item.name, creation_info=self.creation(item))

    @unary
    async def QueueGetById(self, request: Any) -> Any:
        item = self.by_id(self.state.queues, request.queue_id)
        return api_pb2.QueueGetByIdResponse(queue_id=item.id, metadata=self._queue_metadata(item))

    def _queue(self, request: Any) -> QueueContent:
        return self.by_id(self.state.queues, request.queue_id).content

    @unary
    async def QueuePut(self, request: Any) -> Any:
        self._queue(request).put(request.partition_key, list(request.values))
        return Empty()

    @unary
    async def QueueGet(self, request: Any) -> Any:
        content = self._queue(request)
        deadline = time.monotonic() + request.timeout
        wanted = max(1, request.n_values)
        while not content.partitions[request.partition_key]:
            if not await until(content.arrived, deadline - time.monotonic()):
                break
        values = content.partitions[request.partition_key]
        return api_pb2.QueueGetResponse(values=[values.popleft() for _ in range(min(wanted, len(values)))])

    @unary
    async def QueueNextItems(self, request: Any) -> Any:
        content = self._queue(request)
        start = int(request.last_entry_id or 0)
        deadline = time.monotonic() + request.item_poll_timeout
        while len(content.partitions[request.partition_key]) <= start:
            if not await until(content.arrived, deadline - time.monotonic()):
                break
        values = list(content.partitions[request.partition_key])[start:]
        items = [
            api_pb2.QueueItem(value=value, entry_id=str(start + number + 1))
            for number, value in enumerate(values)
        ]
        return api_pb2.QueueNextItemsResponse(items=items)

    @unary
    async def QueueLen(self, request: Any) -> Any:
        partitions = self._queue(request).partitions
        length = (
            sum(map(len, partitions.values())) if request.total else len(partitions[request.partition_key])
        )
        return api_pb2.QueueLenResponse(len=length)

    @unary
    async def QueueClear(self, request: Any) -> Any:
        partitions = self._queue(request).partitions
        if request.all_partitions:
            partitions.clear()
        else:
            partitions.pop(request.partition_key, None)
        return Empty()

    @unary
    async def QueueDelete(self, request: Any) -> Any:
        self.state.queues.by_id.pop(request.queue_id, None)
        return Empty()

    @unary
    async def QueueHeartbeat(self, request: Any) -> Any:
        return Empty()

    @unary
    async def QueueList(self, request: Any) -> Any:
        environment = self.environment(request.environment_name)
        infos = [
            api_pb2.QueueListResponse.QueueInfo(
                name=item.name,
                created_at=item.created_at,
                num_partitions=len(item.content.partitions),
                total_size=sum(map(len, item.content.partitions.values())),
                queue_id=item.id,
                metadata=self._queue_metadata(item),
            )
            for item in self.state.queues.named(environment)
            if item.created_at < (request.pagination.created_before or float("inf"))
        ]
        return api_pb2.QueueListResponse(queues=infos, environment_name=environment)
