"""Apps: creation, publication, history, rollback, stop; their containers; names like a mistyped one."""

from __future__ import annotations

import time
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from ..container import Container
from ..records import AppRecord, Deployment, FunctionRecord, new_id
from ..rpc import CLIENT_VERSION, not_found, unary
from .base import Service


class AppService(Service):
    """Everything that `modal deploy`, `modal run` and `modal app` ask."""

    def app(self, app_id: str) -> AppRecord:
        """The app with this id. Raises NOT_FOUND."""
        found = self.state.apps.get(app_id)
        if found is None:
            raise not_found(f"App {app_id} not found")
        return found

    def _page(self, app_id: str) -> str:
        return f"{self.web_url}/_local/apps/{app_id}"

    @unary
    async def AppCreate(self, request: Any) -> Any:
        app = AppRecord(new_id("ap"), self.environment(request.environment_name), request.description)
        app.state = request.app_state
        app.tags = dict(request.tags)
        self.state.apps[app.id] = app
        return api_pb2.AppCreateResponse(app_id=app.id, app_page_url=self._page(app.id))

    @unary
    async def AppGetOrCreate(self, request: Any) -> Any:
        environment = self.environment(request.environment_name)
        app = self.state.deployed(environment, request.app_name)
        if app is None:
            if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                raise not_found(f"App '{request.app_name}' not found in environment '{environment}'")
            app = AppRecord(new_id("ap"), environment, request.app_name, api_pb2.APP_STATE_DEPLOYED)
            self.state.apps[app.id] = app
        return api_pb2.AppGetOrCreateResponse(app_id=app.id)

    @unary
    async def AppGetByDeploymentName(self, request: Any) -> Any:
        environment = self.environment(request.environment_name)
        app = self.state.deployed(environment, request.name)
        response = api_pb2.AppGetByDeploymentNameResponse(environment_name=environment)
        if app is not None:
            response.app_id = app.id
            response.lifecycle.CopyFrom(self._lifecycle(app))
        else:
            stopped = [
                a for a in self.state.apps.values() if a.environment == environment and a.name == request.name
            ]
            if stopped:
                response.previous_app_id = max(stopped, key=lambda a: a.stopped_at).id
        return response

    def _lifecycle(self, app: AppRecord) -> Any:
        deployed_at = app.history[-1].deployed_at if app.history else 0.0
        return api_pb2.AppLifecycle(
            app_state=app.state,
            created_at=app.created_at,
            created_by=self.workspace,
            deployed_at=deployed_at,
            deployed_by=self.workspace if deployed_at else "",
            stopped_at=app.stopped_at,
            stopped_by=app.stopped_by,
            version=len(app.history),
        )

    def _handle(self, app: AppRecord) -> Any:
        return api_pb2.AppHandleMetadata(
            description=app.name,
            app_id=app.id,
            environment_name=app.environment,
            lifecycle=self._lifecycle(app),
            functions=app.function_ids,
        )

    @unary
    async def AppGetLifecycle(self, request: Any) -> Any:
        return api_pb2.AppGetLifecycleResponse(lifecycle=self._lifecycle(self.app(request.app_id)))

    @unary
    async def AppGetInfo(self, request: Any) -> Any:
        app = self.app(request.app_id)
        functions = [self.state.functions[function_id] for function_id in app.function_ids.values()]
        return api_pb2.AppGetInfoResponse(
            info=self._handle(app),
            function_info_summaries={function.id: _summary(function) for function in functions},
        )

    @unary
    async def AppGetLayout(self, request: Any) -> Any:
        return api_pb2.AppGetLayoutResponse(app_layout=self.scheduler.layout(self.app(request.app_id)))

    @unary
    async def AppGetObjects(self, request: Any) -> Any:
        app = self.app(request.app_id)
        items = [
            api_pb2.AppGetObjectsItem(tag=tag, object=self.scheduler.object(object_id))
            for tag, object_id in {**app.function_ids, **app.class_ids}.items()
        ]
        return api_pb2.AppGetObjectsResponse(items=items)

    @unary
    async def AppHeartbeat(self, request: Any) -> Any:
        app = self.state.apps.get(request.app_id)
        if app is not None:
            app.heartbeat = time.monotonic()
        return Empty()

    @unary
    async def AppClientDisconnect(self, request: Any) -> Any:
        app = self.app(request.app_id)
        if app.state not in (api_pb2.APP_STATE_DEPLOYED, api_pb2.APP_STATE_DETACHED):
            await self.scheduler.stop_app(app)
        return Empty()

    @unary
    async def AppPublish(self, request: Any) -> Any:
        app = self.app(request.app_id)
        if request.app_state == api_pb2.APP_STATE_DEPLOYED:
            previous = self.state.deployed(app.environment, request.name)
            if previous is not None and previous is not app:
                await self.scheduler.stop_app(previous)
        app.name = request.name or app.name
        app.function_ids = dict(request.function_ids)
        app.class_ids = dict(request.class_ids)
        app.tags = dict(request.tags)
        app.state = request.app_state
        deployed_at = time.time()
        if app.state == api_pb2.APP_STATE_DEPLOYED:
            self._record(app, request, deployed_at)
        await self.scheduler.published(app)
        return api_pb2.AppPublishResponse(url=self._page(app.id), deployed_at=deployed_at)

    def _record(self, app: AppRecord, request: Any, deployed_at: float) -> None:
        definitions: dict[str, Any] = {}
        for function in self.state.functions.values():
            if function.app is app and function.base_id is None and function.data is not None:
                definition, data = api_pb2.Function(), api_pb2.FunctionData()
                definition.CopyFrom(function.definition)
                data.CopyFrom(function.data)
                definitions[function.id] = (definition, data)
        app.history.append(
            Deployment(
                version=len(app.history) + 1,
                tag=request.deployment_tag,
                client_version=request.client_version or CLIENT_VERSION.get(),
                deployed_at=deployed_at,
                function_ids=dict(app.function_ids),
                class_ids=dict(app.class_ids),
                definitions=definitions,
                commit_info=request.commit_info if request.HasField("commit_info") else None,
                rollback_version=request.rollback_version,
            )
        )

    @unary
    async def AppDeploymentHistory(self, request: Any) -> Any:
        app = self.app(request.app_id)
        histories = [
            api_pb2.AppDeploymentHistory(
                app_id=app.id,
                version=deployment.version,
                client_version=deployment.client_version,
                deployed_at=deployment.deployed_at,
                deployed_by=self.workspace,
                tag=deployment.tag,
                rollback_version=deployment.rollback_version,
                rollback_allowed=True,
                deployment_type=deployment.kind,
                commit_info=deployment.commit_info,
            )
            for deployment in reversed(app.history)
        ]
        return api_pb2.AppDeploymentHistoryResponse(
            app_deployment_histories=histories, production_app_version=len(app.history)
        )

    @unary
    async def AppRollback(self, request: Any) -> Any:
        app = self.app(request.app_id)
        wanted = request.version if request.version > 0 else len(app.history) + (request.version or -1)
        found = next((deployment for deployment in app.history if deployment.version == wanted), None)
        if found is None:
            raise GRPCError(
                Status.INVALID_ARGUMENT, f"App '{app.name}' has no version {wanted} to roll back to"
            )
        app.function_ids, app.class_ids = dict(found.function_ids), dict(found.class_ids)
        for function_id, (definition, data) in found.definitions.items():
            self.scheduler.redefine(function_id, definition, data)
        again = replace(found, kind=api_pb2.DEPLOYMENT_TYPE_ROLLBACK, rollback_version=found.version)
        again = await self._deploy_again(app, again)
        return api_pb2.AppRollbackResponse(url=self._page(app.id), deployed_at=again.deployed_at)

    @unary
    async def AppRollover(self, request: Any) -> Any:
        app = self.app(request.app_id)
        if not app.history:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App '{app.name}' is not deployed")
        again = replace(app.history[-1], kind=api_pb2.DEPLOYMENT_TYPE_ROLLOVER, rollback_version=0)
        again = await self._deploy_again(app, again)
        return api_pb2.AppRolloverResponse(url=self._page(app.id), deployed_at=again.deployed_at)

    async def _deploy_again(self, app: AppRecord, source: Deployment) -> Deployment:
        again = replace(
            source,
            version=len(app.history) + 1,
            client_version=CLIENT_VERSION.get(),
            deployed_at=time.time(),
        )
        app.history.append(again)
        await self.scheduler.published(app)
        return again

    @unary
    async def AppStop(self, request: Any) -> Any:
        await self.scheduler.stop_app(self.app(request.app_id), by=self.workspace)
        return Empty()

    @unary
    async def AppSetTags(self, request: Any) -> Any:
        self.app(request.app_id).tags = dict(request.tags)
        return Empty()

    @unary
    async def AppGetTags(self, request: Any) -> Any:
        return api_pb2.AppGetTagsResponse(tags=self.app(request.app_id).tags)

    @unary
    async def AppList(self, request: Any) -> Any:
        environment = self.environment(request.environment_name)
        apps = [
            api_pb2.AppListResponse.AppListItem(
                app_id=app.id,
                description=app.name,
                name=app.name,
                state=app.state,
                created_at=app.created_at,
                stopped_at=app.stopped_at,
                metadata=self._handle(app),
                n_running_tasks=len([c for c in self.state.containers() if c.function.app is app]),
            )
            for app in self.state.apps.values()
            if app.environment == environment
        ]
        return api_pb2.AppListResponse(apps=apps)

    @unary
    async def ObjectSuggest(self, request: Any) -> Any:
        environment = self.environment(request.environment_name)
        deployed = [
            app
            for app in self.state.apps.values()
            if app.environment == environment and app.state == api_pb2.APP_STATE_DEPLOYED
        ]
        names: dict[str, tuple[str, str]] = {}
        if request.kind == api_pb2.ObjectSuggestRequest.OBJECT_SUGGEST_KIND_APP:
            names = {app.name: ("", app.name) for app in deployed}
        elif request.kind == api_pb2.ObjectSuggestRequest.OBJECT_SUGGEST_KIND_FUNCTION:
            names = {f"{app.name}/{tag}": (app.name, tag) for app in deployed for tag in app.function_ids}
        found = get_close_matches(request.query, names, n=max(1, request.limit))
        suggestions = [
            api_pb2.ObjectSuggestion(app_name=names[name][0], object_name=names[name][1]) for name in found
        ]
        return api_pb2.ObjectSuggestResponse(suggestions=suggestions)

    # -- containers ------------------------------------------------------------------------------------

    @unary
    async def TaskList(self, request: Any) -> Any:
        environment = self.environment(request.environment_name)
        tasks = [
            api_pb2.TaskStats(
                task_id=container.id,
                app_id=container.function.app.id,
                app_description=container.function.app.name,
                started_at=container.started_at,
                enqueued_at=container.started_at,
            )
            for container in self.state.containers()
            if container.function.app.environment == environment
            and request.app_id in ("", container.function.app.id)
        ]
        return api_pb2.TaskListResponse(tasks=tasks)

    def _task(self, task_id: str) -> Container:
        container = self.state.container(task_id)
        if container is None:
            raise not_found(f"Container {task_id} not found")
        return container

    @unary
    async def TaskGetInfo(self, request: Any) -> Any:
        container = self._task(request.task_id)
        info = api_pb2.TaskInfo(
            id=container.id,
            enqueued_at=container.started_at,
            started_at=container.started_at,
            finished_at=container.ended_at,
        )
        return api_pb2.TaskGetInfoResponse(app_id=container.function.app.id, info=info)

    @unary
    async def ContainerStop(self, request: Any) -> Any:
        container = self._task(request.task_id)
        if not container.ended_at:
            await self.scheduler.stop_container(container, graceful=request.graceful)
        return api_pb2.ContainerStopResponse()


def _summary(function: FunctionRecord) -> Any:
    definition = function.definition
    ranked = function.data.ranked_functions if function.data is not None else []
    gpus = [entry.function.resources.gpu_config for entry in ranked]
    summary = api_pb2.AppGetInfoResponse.FunctionInfoSummary(
        gpu_config=[gpu for gpu in gpus if gpu.count],
        schedule=definition.schedule,
        web_function=bool(definition.webhook_config.type),
    )
    if summary.web_function:
        summary.requires_proxy_auth = definition.webhook_config.requires_proxy_auth
    return summary
