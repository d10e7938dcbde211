"""Containers come and go with the inputs that wait: scaling, timeouts, retries, cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

from modal_proto import api_pb2

from ..child_process import end_child, exited, signal_group
from ..faults import Faults
from .container import Container
from .function_options import data_with_options, with_options
from .records import AppRecord, Call, FunctionRecord, Input, State, WebEndpoint
from .web_names import subdomain

TICK = 0.2
"""Seconds between two looks at what should scale down or has run too long."""

STOP_GRACE = 30.0
"""Seconds that a container has for its exit hooks before it is killed (Modal's grace period)."""

SHUTDOWN_GRACE = 5.0
"""The same when the whole local Modal stops."""

HEARTBEAT_TIMEOUT = 60.0
"""Seconds after which a silent client counts as gone: four of its heartbeats (modal 1.6.4 sends one every 15 s)."""

APP_STOPPED = "The app was stopped."

Status = api_pb2.GenericResult
Launch = Callable[[Container], Awaitable[None]]


class Scheduler:
    """Starts containers where inputs wait, ends idle ones, and answers inputs that no container will."""

    def __init__(
        self,
        state: State,
        faults: Faults,
        launch: Launch,
        log: Callable[[str], None],
        drop_blob: Callable[[str], None],
    ) -> None:
        self._state = state
        self._faults = faults
        self._launch = launch
        self._log = log
        self._drop_blob = drop_blob
        self._stopped = False
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop_task: asyncio.Task[None] | None = None
        self.heartbeat_timeout = HEARTBEAT_TIMEOUT
        self.workspace = "local"
        self.web_port = 0

    def start(self) -> None:
        """Starts looking after containers."""
        self._loop_task = asyncio.create_task(self._loop())

    async def stop(self) -> None:
        """Ends every container: exit hooks run, what does not end is killed."""
        self._stopped = True
        containers = self._state.containers()
        await asyncio.gather(*(self._end(container, SHUTDOWN_GRACE) for container in containers))
        unfinished = [*self._tasks, *([self._loop_task] if self._loop_task is not None else [])]
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    def wake(self) -> None:
        """Looks again soon."""
        self._woken.set()

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- definitions -----------------------------------------------------------------------------------

    def redefine(self, function_id: str, definition: api_pb2.Function, data: api_pb2.FunctionData) -> None:
        """Gives a function, and its instances with parameters, another definition."""
        for function in self._state.family(function_id):
            function.definition = with_options(definition, function.options)
            function.data = data_with_options(data, function.options)
            function.override = None

    async def published(self, app: AppRecord) -> None:
        """After a deployment: containers of the version before finish their inputs and end."""
        for container in self._state.containers():
            if container.function.app is app:
                self._spawn(self.stop_container(container, graceful=True))
        self._drop_labels(app)
        for function_id in app.function_ids.values():
            function = self._state.functions[function_id]
            self.metadata(function)
        self.wake()

    def _end_abandoned(self) -> None:
        for app in list(self._state.apps.values()):
            if app.is_abandoned(self.heartbeat_timeout):
                self._log(
                    f"[{app.name}] stopped: its client has been silent for {self.heartbeat_timeout:g} s"
                )
                self._spawn(self.stop_app(app))

    async def replace_containers(self, app: AppRecord) -> None:
        """Ends every container of an app now."""
        mine = [container for container in self._state.containers() if container.function.app is app]
        await asyncio.gather(*(self.stop_container(container, graceful=False) for container in mine))

    async def stop_app(self, app: AppRecord, by: str = "") -> None:
        """Stops an app: no URL, no containers, its waiting inputs are canceled."""
        app.state = api_pb2.APP_STATE_STOPPED
        app.stopped_at, app.stopped_by = time.time(), by
        self._drop_labels(app)
        for function in self._state.functions.values():
            if function.app is app:
                for item in list(function.pending):
                    self._answer(item, Status.GENERIC_STATUS_TERMINATED, APP_STOPPED)
        await self.replace_containers(app)
        app.logs.close()

    def _drop_labels(self, app: AppRecord) -> None:
        for label in [label for label, web in self._state.web.items() if self._app_of(web) is app]:
            del self._state.web[label]

    def _app_of(self, web: WebEndpoint) -> AppRecord:
        return self._state.functions[web.function_id].app

    def web_url(
        self, function: FunctionRecord, name: str, config: api_pb2.WebhookConfig, method: str = ""
    ) -> str:
        """The URL of a web function, which is served from now on."""
        if not config.type:
            return ""
        environment = self._state.environments[function.app.environment]
        label = subdomain(self.workspace, environment.web_suffix, function.app, name, config.requested_suffix)
        self._state.web[label] = WebEndpoint(function.id, method, config)
        return f"http://{label}.localhost:{self.web_port}"

    def metadata(self, function: FunctionRecord, definition: api_pb2.Function | None = None) -> Any:
        """What a client learns of a function."""
        shown = definition or function.definition
        metadata = api_pb2.FunctionHandleMetadata(
            function_name=shown.function_name,
            function_type=shown.function_type,
            definition_id=f"de-{function.id}",
            app_id=function.app.id,
            base_function_id=function.base_id or "",
            class_parameter_info=shown.class_parameter_info,
            function_schema=shown.function_schema,
            supported_input_formats=shown.supported_input_formats,
            supported_output_formats=shown.supported_output_formats,
        )
        metadata.web_url = self.web_url(function, shown.function_name, shown.webhook_config)
        for name, method in shown.method_definitions.items():
            entry = metadata.method_handle_metadata[name]
            entry.CopyFrom(
                api_pb2.FunctionHandleMetadata(
                    function_name=method.function_name,
                    function_type=method.function_type,
                    is_method=True,
                    use_method_name=name,
                    app_id=function.app.id,
                    function_schema=method.function_schema,
                    supported_input_formats=method.supported_input_formats,
                    supported_output_formats=method.supported_output_formats,
                )
            )
            entry.web_url = self.web_url(function, method.function_name, method.webhook_config, name)
        return metadata

    def object(self, object_id: str) -> Any:
        """Any object with what a client must know of it."""
        if object_id in self._state.functions:
            function = self._state.functions[object_id]
            return api_pb2.Object(object_id=object_id, function_handle_metadata=self.metadata(function))
        if object_id.startswith("cs-"):
            return api_pb2.Object(object_id=object_id, class_handle_metadata=api_pb2.ClassHandleMetadata())
        volume = self._state.volumes.by_id.get(object_id)
        if volume is not None:
            metadata = api_pb2.VolumeMetadata(name=volume.name, version=volume.content)
            return api_pb2.Object(object_id=object_id, volume_metadata=metadata)
        return api_pb2.Object(object_id=object_id)

    def layout(self, app: AppRecord) -> Any:
        """The app's functions and classes, and all that they depend on."""
        ids = {*app.function_ids.values(), *app.class_ids.values()}
        for object_id in list(ids):
            function = self._state.functions.get(object_id)
            if function is not None:
                ids |= {dependency.object_id for dependency in function.definition.object_dependencies}
        return api_pb2.AppLayout(
            function_ids=app.function_ids,
            class_ids=app.class_ids,
            objects=[self.object(object_id) for object_id in sorted(ids)],
        )

    # -- inputs and outputs ----------------------------------------------------------------------------

    def enqueue(self, call: Call, item: api_pb2.FunctionInput, index: int) -> Input:
        """Adds an input to a call; a container will be found for it."""
        new = Input(call, index, item)
        call.inputs.append(new)
        call.unfinished += 1
        self._state.calls.resumed(call)
        self._state.inputs[new.id] = new
        self._queue(new)
        return new

    def _queue(self, item: Input, first: bool = False) -> None:
        function = item.call.function
        if not function.app.running:
            self._answer(item, Status.GENERIC_STATUS_TERMINATED, APP_STOPPED)
            return
        if first:
            function.pending.appendleft(item)
        else:
            function.pending.append(item)
        event, function.arrived = function.arrived, asyncio.Event()
        event.set()
        self._scale(function)

    def hand_out(self, container: Container) -> Any:
        """The next waiting input, for a container that asked."""
        function = container.function
        item = function.pending.popleft()
        item.container = item.last_container = container
        container.latest = item
        item.started_at = time.time()
        if not item.call.web:
            item.deadline = time.monotonic() + function.timeout
        container.inputs[item.id] = item
        if self._faults.hit("kill-container", function.app.name) is not None and container.process:
            signal_group(container.process.pid, signal.SIGKILL)
        return api_pb2.FunctionGetInputsItem(
            input_id=item.id,
            input=item.item,
            function_call_id=item.call.id,
            function_call_invocation_type=item.call.invocation_type,
            retry_count=item.retry_count,
            function_map_idx=item.index,
        )

    def put_output(self, output: api_pb2.FunctionPutOutputsItem, container: Container | None) -> None:
        """Takes a container's answer to an input; a failure is tried again as the function's policy says."""
        item = self._state.inputs.get(output.input_id)
        if item is None or item.done or (container is not None and output.input_id not in container.inputs):
            return
        status = output.result.status
        if container is not None and container.evicted and status == Status.GENERIC_STATUS_TERMINATED:
            return  # it was interrupted, not canceled: it runs again elsewhere when this container is gone
        self._release(item)
        item.call.function.crash_loop.answered()
        if status == Status.GENERIC_STATUS_FAILURE and self._retry(item):
            return
        self._finish(item, output.result, output.data_format)

    def _release(self, item: Input) -> None:
        container, item.container = item.container, None
        if container is not None:
            container.inputs.pop(item.id, None)
            container.handled += 1
            container.idle_since = time.monotonic()

    def _retry(self, item: Input) -> bool:
        policy = item.call.function.definition.retry_policy
        if item.retry_count >= policy.retries or item.call.web:
            return False
        delay = policy.initial_delay_ms * max(policy.backoff_coefficient, 1.0) ** item.retry_count
        item.retry_count += 1
        self._spawn(self._queue_later(item, min(delay, policy.max_delay_ms or delay) / 1000))
        return True

    async def _queue_later(self, item: Input, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if not item.done:
            self._queue(item)

    def _answer(self, item: Input, status: Any, exception: str) -> None:
        if item in item.call.function.pending:
            item.call.function.pending.remove(item)
        self._release(item)
        self._finish(item, Status(status=status, exception=exception), api_pb2.DATA_FORMAT_UNSPECIFIED)

    def _finish(self, item: Input, result: Any, data_format: Any) -> None:
        call = item.call
        item.finished_at, item.status = time.time(), result.status
        call.blobs += [blob for blob in (item.item.args_blob_id, result.data_blob_id) if blob]
        # Arguments are not needed any more, and can be large.
        item.item = api_pb2.FunctionInput(method_name=item.item.method_name)
        call.unfinished -= 1
        call.outputs.put(
            api_pb2.FunctionGetOutputsItem(
                result=result,
                idx=item.index,
                input_id=item.id,
                data_format=data_format,
                task_id=item.last_container.id if item.last_container is not None else "",
                input_started_at=item.started_at,
                output_created_at=item.finished_at,
                # Retries are the server's here: a client drops outputs of an attempt that it did not ask for.
                retry_count=0,
            )
        )
        if not call.unfinished:
            call.data_out.close()
            call.data_in.close()
            self._state.calls.finished(call)
            if call.answered:
                self._forget(call)

    def answered(self, call: Call) -> None:
        """A web client has got the whole answer to a call, which nobody can ask for again."""
        call.answered = True
        if not call.unfinished:
            self._forget(call)

    def _forget(self, call: Call) -> None:
        self._state.calls.discard(call)
        for item in call.inputs:
            self._state.inputs.pop(item.id, None)
        chunks = [*call.data_in.items, *call.data_out.items]
        for blob in (*call.blobs, *(chunk.data_blob_id for chunk in chunks if chunk.data_blob_id)):
            self._drop_blob(blob)

    async def cancel(self, call: Call, terminate_containers: bool) -> None:
        """Cancels a call: waiting inputs never run, running ones are told, or lose their container."""
        for item in call.inputs:
            if item.done:
                continue
            container = item.container
            self._answer(item, Status.GENERIC_STATUS_TERMINATED, "Input was cancelled by user")
            if container is not None:
                container.to_cancel.append(item.id)
                container.cancel_arrived.set()
                if terminate_containers:
                    self._spawn(self.stop_container(container, graceful=False))

    # -- containers ------------------------------------------------------------------------------------

    def ready(self, container: Container) -> None:
        """A container asks for inputs, which ends its cold start."""
        if container.ready_at is None:
            container.ready_at = time.time()
            container.idle_since = time.monotonic()

    def _scale(self, function: FunctionRecord) -> None:
        if self._stopped or not function.app.running or function.crash_loop.pausing():
            return
        live = [container for container in function.containers if not container.stopping]
        busy = sum(len(container.inputs) for container in live)
        work = len(function.pending) + busy
        wanted = max(math.ceil(work / function.concurrency), function.min_containers)
        if work:
            wanted += function.buffer_containers
        for _ in range(min(wanted, function.max_containers) - len(live)):
            container = Container(function)
            function.containers.append(container)
            function.started += 1
            container.supervisor = self._spawn(self._supervise(container))

    async def _supervise(self, container: Container) -> None:
        function = container.function
        try:
            await asyncio.sleep(self._faults.seconds("container-start-latency-ms"))
            await self._launch(container)
        except Exception as error:
            self._log(f"container {container.id} of {function.name} could not be started: {error}")
            container.failure = Status(status=Status.GENERIC_STATUS_INIT_FAILURE, exception=str(error))
        finally:
            if container in function.containers:
                function.containers.remove(container)
            container.ended_at, container.latest = time.time(), None
            self._state.ended.append(container)
            self._after(container)

    def _after(self, container: Container) -> None:
        """A container is gone: answers what it left, and what waits in vain for one that cannot start."""
        code = container.process.returncode if container.process is not None else None
        if container.inputs and not container.evicted and not self._stopped:
            self._spawn(self._scale_later(container.function, container.function.crash_loop.crashed()))
        for item in list(container.inputs.values()):
            self._release(item)
            if container.evicted or self._reschedules(item):
                self._queue(item, first=True)
            elif not self._retry(item):
                reason = container.failure.exception if container.failure is not None else ""
                text = (
                    reason
                    or f"Container {container.id} ended with exit code {code} before the input was done."
                )
                self._answer(item, Status.GENERIC_STATUS_INTERNAL_FAILURE, text)
        function = container.function
        if container.failure is not None and container.ready_at is None:
            for item in list(function.pending):
                self._answer(item, Status.GENERIC_STATUS_INIT_FAILURE, container.failure.exception)
        if function.app.running:
            self._scale(function)

    def _reschedules(self, item: Input) -> bool:
        """Whether an input whose container has crashed goes to another one. A web request is told: it may not be repeatable."""
        function = item.call.function
        deployed = function.app.state == api_pb2.APP_STATE_DEPLOYED
        return not item.call.web and not function.crash_loop.is_over(deployed)

    async def _scale_later(self, function: FunctionRecord, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._scale(function)

    async def stop_container(self, container: Container, graceful: bool) -> None:
        """Ends a container: gracefully it finishes its inputs first; exit hooks run either way, for a while."""
        if container.stopping and graceful:
            return
        container.stopping = True
        event, container.function.arrived = container.function.arrived, asyncio.Event()
        event.set()
        deadline = time.monotonic() + container.function.timeout
        while graceful and container.inputs and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        container.evicted = True
        await self._end(container, STOP_GRACE if graceful else SHUTDOWN_GRACE)

    async def _end(self, container: Container, grace: float) -> None:
        container.stopping = True
        event, container.function.arrived = container.function.arrived, asyncio.Event()
        event.set()
        process = container.process
        if process is None:
            if container.supervisor is not None:
                container.supervisor.cancel()
            return
        if container.ready_at is None:
            await end_child(process, 0)
        elif not container.inputs:
            # The kill switch lets the runtime run its exit hooks and end by itself.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(exited(process), grace)
        elif process.returncode is None:
            signal_group(process.pid, signal.SIGINT)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(exited(process), grace)
        await end_child(process, 1.0)
        if container.supervisor is not None:
            await asyncio.wait({container.supervisor}, timeout=5)

    async def _loop(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), TICK)
            self._woken.clear()
            for call in self._state.calls.expire():
                self._forget(call)
            self._end_abandoned()
            for function in list(self._state.functions.values()):
                self._look_after(function)

    def _look_after(self, function: FunctionRecord) -> None:
        now = time.monotonic()
        for container in list(function.containers):
            started = time.time() - container.started_at
            if container.ready_at is None and container.process and started > function.startup_timeout:
                text = f"Container did not start within {function.startup_timeout:g} s."
                container.failure = Status(status=Status.GENERIC_STATUS_INIT_FAILURE, exception=text)
                signal_group(container.process.pid, signal.SIGKILL)
            for item in list(container.inputs.values()):
                if now > item.deadline:
                    self._time_out(item, container)
        live = [container for container in function.containers if not container.stopping]
        idle = [
            container
            for container in live
            if container.ready_at
            and not container.inputs
            and now - container.idle_since >= function.scaledown_window
        ]
        spare = len(live) - function.min_containers
        for container in idle[: max(spare, 0)]:
            if not function.pending:
                self._spawn(self.stop_container(container, graceful=True))
        if function.id in function.app.function_ids.values() or function.override is not None:
            self._scale(function)

    def _time_out(self, item: Input, container: Container) -> None:
        """An input ran too long: it failed, and its container ends. Inputs beside it run again elsewhere."""
        function = item.call.function
        text = f"Task's current input {item.id} hit its timeout of {function.timeout:g}s"
        self._log(f"[{function.app.name} {function.name}] {text}")
        self._release(item)
        if not self._retry(item):
            self._answer(item, Status.GENERIC_STATUS_TIMEOUT, text)
        container.stopping = container.evicted = True
        if container.process is not None:
            signal_group(container.process.pid, signal.SIGKILL)
