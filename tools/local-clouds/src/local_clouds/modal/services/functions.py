"""Functions and classes: their definitions, and what clients learn of them."""

from __future__ import annotations

from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from ..function_options import data_of, data_with_options, with_options
from ..records import FunctionRecord, new_id
from ..rpc import not_found, unary
from .base import Service


class FunctionService(Service):
    """Creation, look-up, parameters, scaling."""

    def function(self, function_id: str) -> FunctionRecord:
        """The function with this id. Raises NOT_FOUND."""
        found = self.state.functions.get(function_id)
        if found is None:
            raise not_found(f"Function {function_id} not found")
        return found

    @unary
    async def FunctionPrecreate(self, request: Any) -> Any:
        function_id = request.existing_function_id or new_id("fu")
        definition = api_pb2.Function(
            function_name=request.function_name,
            function_type=request.function_type,
            webhook_config=request.webhook_config,
            function_schema=request.function_schema,
        )
        for name, method in request.method_definitions.items():
            definition.method_definitions[name].CopyFrom(method)
        if function_id not in self.state.functions:
            app = self.state.apps[request.app_id]
            self.state.functions[function_id] = FunctionRecord(function_id, app, definition)
        metadata = self.scheduler.metadata(self.state.functions[function_id], definition)
        return api_pb2.FunctionPrecreateResponse(function_id=function_id, handle_metadata=metadata)

    @unary
    async def FunctionCreate(self, request: Any) -> Any:
        if request.function_data.ranked_functions:
            data = api_pb2.FunctionData()
            data.CopyFrom(request.function_data)
            definition = data.ranked_functions[0].function
        else:
            definition = request.function
            data = data_of(definition)
        function_id = request.existing_function_id or new_id("fu")
        function = self.state.functions.get(function_id)
        if function is None:
            function = FunctionRecord(function_id, self.state.apps[request.app_id], definition)
            self.state.functions[function_id] = function
        self.scheduler.redefine(function_id, definition, data)
        return api_pb2.FunctionCreateResponse(
            function_id=function_id,
            function=definition,
            function_data=data,
            handle_metadata=self.scheduler.metadata(function),
        )

    @unary
    async def ClassCreate(self, request: Any) -> Any:
        class_id = request.existing_class_id or new_id("cs")
        return api_pb2.ClassCreateResponse(class_id=class_id, handle_metadata=api_pb2.ClassHandleMetadata())

    def _object_id(self, request: Any) -> str:
        environment = self.environment(request.environment_name)
        app = self.state.deployed(environment, request.app_name)
        if app is None:
            raise not_found(f"App '{request.app_name}' not found in environment '{environment}'")
        object_id = {**app.function_ids, **app.class_ids}.get(request.object_tag)
        if object_id is None:
            raise not_found(f"'{request.object_tag}' not found in app '{request.app_name}'")
        return object_id

    @unary
    async def FunctionGet(self, request: Any) -> Any:
        function = self.function(self._object_id(request))
        version = len(function.app.history)
        if request.app_version not in (0, version):
            raise GRPCError(
                Status.UNIMPLEMENTED,
                f"The local Modal runs the latest version of an app ({version}) and no earlier one",
            )
        return api_pb2.FunctionGetResponse(
            function_id=function.id, handle_metadata=self.scheduler.metadata(function), function=function.data
        )

    @unary
    async def ClassGet(self, request: Any) -> Any:
        return api_pb2.ClassGetResponse(
            class_id=self._object_id(request), handle_metadata=api_pb2.ClassHandleMetadata()
        )

    @unary
    async def FunctionBindParams(self, request: Any) -> Any:
        base = self.function(request.function_id)
        options = request.function_options.SerializeToString(deterministic=True)
        key = (base.id, request.serialized_params, options)
        bound_id = self.state.bound.get(key)
        if bound_id is None:
            bound_id = self.state.bound[key] = new_id("fu")
            chosen = api_pb2.FunctionOptions()
            chosen.CopyFrom(request.function_options)
            self.state.functions[bound_id] = FunctionRecord(
                bound_id,
                base.app,
                with_options(base.definition, chosen),
                data_with_options(base.data, chosen),
                request.serialized_params,
                base.id,
                chosen,
            )
        metadata = self.scheduler.metadata(self.state.functions[bound_id])
        return api_pb2.FunctionBindParamsResponse(bound_function_id=bound_id, handle_metadata=metadata)

    @unary
    async def FunctionGetById(self, request: Any) -> Any:
        function = self.function(request.function_id)
        return api_pb2.FunctionGetByIdResponse(
            function=function.data, handle_metadata=self.scheduler.metadata(function)
        )

    @unary
    async def FunctionListVariants(self, request: Any) -> Any:
        base = self.function(request.function_id)
        variants = [f for f in self.state.family(base.id) if f is not base]
        infos = [
            api_pb2.FunctionVariantInfo(
                function_id=variant.id,
                serialized_params=variant.params,
                function_options=variant.options if variant.options.ListFields() else None,
            )
            for variant in variants
        ]
        return api_pb2.FunctionListVariantsResponse(infos=infos[: request.limit or None])

    @unary
    async def FunctionGetCurrentStats(self, request: Any) -> Any:
        family = self.state.family(self.function(request.function_id).id)
        live = [container for f in family for container in f.containers if not container.stopping]
        running = sum(len(container.inputs) for container in live)
        return api_pb2.FunctionStats(
            backlog=sum(len(f.pending) for f in family),
            num_total_tasks=len(live),
            num_running_inputs=running,
            input_headroom=sum(container.function.concurrency for container in live) - running,
        )

    @unary
    async def FunctionGetSchedulingParams(self, request: Any) -> Any:
        function = self.function(request.function_id)
        configuration = api_pb2.AutoscalerConfiguration(
            settings=function.settings,
            static_settings=function.definition.autoscaler_settings,
            override_settings=function.override,
        )
        return api_pb2.FunctionGetSchedulingParamsResponse(autoscaler_configuration=configuration)

    @unary
    async def FunctionUpdateSchedulingParams(self, request: Any) -> Any:
        function = self.function(request.function_id)
        settings = function.override or api_pb2.AutoscalerSettings()
        settings.MergeFrom(request.settings)
        if request.warm_pool_size_override and not request.settings.HasField("min_containers"):
            settings.min_containers = request.warm_pool_size_override
        function.override = settings
        self.scheduler.wake()
        return api_pb2.FunctionUpdateSchedulingParamsResponse(current_settings=function.settings)

    @unary
    async def FunctionGetDynamicConcurrency(self, request: Any) -> Any:
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=request.max_concurrency)

    @unary
    async def FunctionStartPtyShell(self, request: Any) -> Any:
        return Empty()
