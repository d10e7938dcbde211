"""What the control plane knows: apps, functions, calls and their inputs, and named objects."""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modal_proto import api_pb2

from .call_history import CallHistory
from .crash_loop import CrashLoop

if TYPE_CHECKING:
    from .container import Container

DEFAULT_ENVIRONMENT = "main"
DEFAULT_TIMEOUT = 300
"""Seconds that an input may run (Modal's default)."""

DEFAULT_SCALEDOWN_WINDOW = 60
"""Idle seconds after which a container ends (Modal's default)."""

LOCAL_CONTAINER_CAP = 4
"""Containers of one function at once when it sets no max_containers; Modal has no such cap."""

LOG_LIMIT = 20_000
"""Log entries of one app that are kept."""

ENDED_CONTAINERS = 1000
"""Containers that are still known after their end."""

_ALPHABET = string.ascii_letters + string.digits


def new_id(prefix: str) -> str:
    """An id of Modal's shape: `<prefix>-` and 22 letters and digits."""
    return f"{prefix}-{''.join(secrets.choice(_ALPHABET) for _ in range(22))}"


class Channel:
    """A list of messages that grows, with readers that wait for more.

    With a `limit`, the oldest messages go when there are too many; indices count them on.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.items: list[Any] = []
        self.dropped = 0
        self.closed = False
        self._limit = limit
        self._changed = asyncio.Event()

    def put(self, item: Any) -> None:
        """Adds a message."""
        self.items.append(item)
        if self._limit is not None and len(self.items) > self._limit * 1.1:
            surplus = len(self.items) - self._limit
            del self.items[:surplus]
            self.dropped += surplus
        self._wake()

    def close(self) -> None:
        """No more messages will come."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        event, self._changed = self._changed, asyncio.Event()
        event.set()

    async def read(self, start: int = 0) -> AsyncIterator[tuple[int, Any]]:
        """Messages with their index, from `start` on, until the channel is closed."""
        index = start
        while True:
            index = max(index, self.dropped)
            while index < self.dropped + len(self.items):
                yield index, self.items[index - self.dropped]
                index = max(index + 1, self.dropped)
            if self.closed:
                return
            await self._changed.wait()

    async def longer_than(self, length: int, timeout: float) -> bool:
        """Waits until there are more than `length` messages; False after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while len(self.items) <= length and not self.closed:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            try:
                await asyncio.wait_for(self._changed.wait(), remaining)
            except TimeoutError:
                return False
        return len(self.items) > length


@dataclass
class Deployment:
    """One version of a deployed app."""

    version: int
    tag: str
    client_version: str
    deployed_at: float
    function_ids: dict[str, str]
    class_ids: dict[str, str]
    definitions: dict[str, tuple[api_pb2.Function, api_pb2.FunctionData]]
    commit_info: api_pb2.CommitInfo | None = None
    kind: Any = api_pb2.DEPLOYMENT_TYPE_STANDARD
    rollback_version: int = 0


@dataclass
class AppRecord:
    """An app, deployed or ephemeral."""

    id: str
    environment: str
    name: str
    state: Any = 0
    created_at: float = field(default_factory=time.time)
    stopped_at: float = 0.0
    stopped_by: str = ""
    function_ids: dict[str, str] = field(default_factory=dict[str, str])
    class_ids: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    history: list[Deployment] = field(default_factory=list[Deployment])
    logs: Channel = field(default_factory=lambda: Channel(LOG_LIMIT))
    heartbeat: float = field(default_factory=time.monotonic)
    """When the client that runs it was heard last."""

    def is_abandoned(self, timeout: float) -> bool:
        """Whether it lives as long as its client, and that has been silent for so many seconds."""
        with_client = self.state in (api_pb2.APP_STATE_EPHEMERAL, api_pb2.APP_STATE_INITIALIZING)
        return with_client and time.monotonic() - self.heartbeat > timeout

    @property
    def running(self) -> bool:
        """Whether its functions may run."""
        return self.state in (
            api_pb2.APP_STATE_DEPLOYED,
            api_pb2.APP_STATE_EPHEMERAL,
            api_pb2.APP_STATE_INITIALIZING,
            api_pb2.APP_STATE_DETACHED,
            0,
        )


@dataclass
class Call:
    """A function call: one or more inputs and their outputs."""

    function: FunctionRecord
    id: str = field(default_factory=lambda: new_id("fc"))
    created_at: float = field(default_factory=time.time)
    inputs: list[Input] = field(default_factory=list["Input"])
    outputs: Channel = field(default_factory=Channel)
    data_in: Channel = field(default_factory=Channel)
    data_out: Channel = field(default_factory=Channel)
    invocation_type: Any = 0
    parent_input_id: str = ""
    web: bool = False
    answered: bool = False
    """Whether a web client has got the whole answer: nobody can ask for it again."""
    unfinished: int = 0
    """Inputs without an output."""
    blobs: list[str] = field(default_factory=list[str])
    """Ids of blobs that arguments and results are in."""


@dataclass
class Input:
    """One input of a call."""

    call: Call
    index: int
    item: api_pb2.FunctionInput
    id: str = field(default_factory=lambda: new_id("in"))
    enqueued_at: float = field(default_factory=time.time)
    retry_count: int = 0
    container: Container | None = None
    last_container: Container | None = None
    """The container of the latest attempt."""
    started_at: float = 0.0
    """When the latest attempt began."""
    deadline: float = float("inf")
    """Monotonic time at which the running attempt times out."""
    finished_at: float = 0.0
    status: Any = 0
    """GenericStatus of the output; unspecified (0) until there is one."""

    @property
    def done(self) -> bool:
        """Whether there is an output."""
        return self.finished_at > 0


@dataclass
class FunctionRecord:
    """A function, or a class with one set of parameters."""

    id: str
    app: AppRecord
    definition: api_pb2.Function
    data: api_pb2.FunctionData | None = None
    params: bytes = b""
    base_id: str | None = None
    options: Any = None
    """FunctionOptions of a variant: what `with_options` and its like changed."""
    created_at: float = field(default_factory=time.time)
    pending: deque[Input] = field(default_factory=deque["Input"])
    containers: list[Container] = field(default_factory=list["Container"])
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    override: api_pb2.AutoscalerSettings | None = None
    started: int = 0
    """Containers started so far."""
    crash_loop: CrashLoop = field(default_factory=CrashLoop)

    @property
    def name(self) -> str:
        """The function's name; `Class.*` for a class."""
        return self.definition.function_name

    @property
    def concurrency(self) -> int:
        """Inputs that one container runs at once."""
        target = self.definition.target_concurrent_inputs
        return max(1, self.definition.max_concurrent_inputs, target)

    @property
    def settings(self) -> api_pb2.AutoscalerSettings:
        """What the autoscaler goes by: the definition's settings under those of the latest update."""
        settings = api_pb2.AutoscalerSettings(
            min_containers=self.min_containers,
            max_containers=self._setting("max_containers", self.definition.concurrency_limit),
            buffer_containers=self.buffer_containers,
            scaledown_window=int(self.scaledown_window),
        )
        if self.override is not None:
            settings.MergeFrom(self.override)
        return settings

    def _setting(self, name: str, fallback: int) -> int:
        for settings in (self.override, self.definition.autoscaler_settings):
            if settings is not None and name in {field.name for field, _ in settings.ListFields()}:
                return int(getattr(settings, name))
        return fallback

    @property
    def min_containers(self) -> int:
        """Containers that stay without work."""
        return self._setting("min_containers", self.definition.warm_pool_size)

    @property
    def buffer_containers(self) -> int:
        """Idle containers that are kept while there is work."""
        return self._setting("buffer_containers", self.definition._experimental_buffer_containers)

    @property
    def max_containers(self) -> int:
        """Containers at once."""
        limit = self._setting("max_containers", self.definition.concurrency_limit)
        return limit if limit > 0 else LOCAL_CONTAINER_CAP

    @property
    def scaledown_window(self) -> float:
        """Idle seconds after which a container ends."""
        fallback = self.definition.task_idle_timeout_secs or DEFAULT_SCALEDOWN_WINDOW
        return self._setting("scaledown_window", fallback) or fallback

    @property
    def timeout(self) -> float:
        """Seconds that an input may run."""
        return self.definition.timeout_secs or DEFAULT_TIMEOUT

    @property
    def startup_timeout(self) -> float:
        """Seconds that a container may take until it asks for inputs."""
        return self.definition.startup_timeout_secs or self.timeout


@dataclass
class EnvironmentRecord:
    """An environment and its settings."""

    name: str
    web_suffix: str = ""
    image_builder_version: str = ""
    """Empty: the workspace's."""
    id: str = field(default_factory=lambda: new_id("en"))
    created_at: float = field(default_factory=time.time)


@dataclass
class WebEndpoint:
    """A URL and the function behind it."""

    function_id: str
    method: str
    config: api_pb2.WebhookConfig


@dataclass
class Named:
    """A secret, dict, queue or volume, and where it is known by name."""

    id: str
    environment: str
    name: str
    content: Any
    created_at: float = field(default_factory=time.time)


@dataclass
class Registry:
    """Objects of one kind, by id and by name."""

    prefix: str
    kind: str
    by_id: dict[str, Named] = field(default_factory=dict[str, Named])

    def find(self, environment: str, name: str) -> Named | None:
        """The object with this name."""
        for item in self.by_id.values():
            if item.name == name and item.environment == environment and name:
                return item
        return None

    def add(self, environment: str, name: str, content: Any) -> Named:
        """A new object; without a name it is anonymous."""
        item = Named(new_id(self.prefix), environment, name, content)
        self.by_id[item.id] = item
        return item

    def named(self, environment: str) -> list[Named]:
        """Objects of an environment that have a name, newest first."""
        found = [item for item in self.by_id.values() if item.name and item.environment == environment]
        return sorted(found, key=lambda item: item.created_at, reverse=True)


@dataclass
class State:
    """Everything. One per local Modal; used from one event loop."""

    environments: dict[str, EnvironmentRecord] = field(
        default_factory=lambda: {DEFAULT_ENVIRONMENT: EnvironmentRecord(DEFAULT_ENVIRONMENT)}
    )
    default_environment: str = DEFAULT_ENVIRONMENT
    apps: dict[str, AppRecord] = field(default_factory=dict[str, AppRecord])
    functions: dict[str, FunctionRecord] = field(default_factory=dict[str, FunctionRecord])
    bound: dict[tuple[str, bytes, bytes], str] = field(default_factory=dict[tuple[str, bytes, bytes], str])
    images: dict[str, api_pb2.Image] = field(default_factory=dict[str, api_pb2.Image])
    image_order: dict[bytes, str] = field(default_factory=dict[bytes, str])
    mounts: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    calls: CallHistory = field(default_factory=CallHistory)
    inputs: dict[str, Input] = field(default_factory=dict[str, Input])
    ended: deque[Container] = field(default_factory=lambda: deque["Container"](maxlen=ENDED_CONTAINERS))
    web: dict[str, WebEndpoint] = field(default_factory=dict[str, WebEndpoint])
    secrets: Registry = field(default_factory=lambda: Registry("st", "Secret"))
    dicts: Registry = field(default_factory=lambda: Registry("di", "Dict"))
    queues: Registry = field(default_factory=lambda: Registry("qu", "Queue"))
    volumes: Registry = field(default_factory=lambda: Registry("vo", "Volume"))
    rpc_counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def registries(self) -> tuple[Registry, ...]:
        """Objects of every kind that has names."""
        return (self.secrets, self.dicts, self.queues, self.volumes)

    def deployed(self, environment: str, name: str) -> AppRecord | None:
        """The app deployed under a name."""
        for app in self.apps.values():
            same = app.environment == environment and app.name == name
            if same and app.state == api_pb2.APP_STATE_DEPLOYED:
                return app
        return None

    def containers(self) -> list[Container]:
        """Every container that runs."""
        return [container for function in self.functions.values() for container in function.containers]

    def container(self, container_id: str) -> Container | None:
        """The container with this id, running or ended not long ago."""
        return next((c for c in (*self.containers(), *self.ended) if c.id == container_id), None)

    def family(self, function_id: str) -> list[FunctionRecord]:
        """A function and its variants."""
        return [f for f in self.functions.values() if function_id in (f.id, f.base_id)]
