"""What `with_options`, `with_concurrency` and `with_batching` change in a function's definition."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from modal_proto import api_pb2

SAME_NAME = (
    "timeout_secs",
    "task_idle_timeout_secs",
    "concurrency_limit",
    "max_concurrent_inputs",
    "target_concurrent_inputs",
    "batch_max_size",
    "batch_linger_ms",
    "cloud_provider_str",
    "routing_region",
)
"""Options that are fields of the definition too."""

AUTOSCALER = {
    "concurrency_limit": "max_containers",
    "buffer_containers": "buffer_containers",
    "task_idle_timeout_secs": "scaledown_window",
    "warm_pool_size": "min_containers",
}
"""Options that the autoscaler knows by other names."""


def with_options(definition: api_pb2.Function, options: Any) -> api_pb2.Function:
    """A copy of the definition with the options in place of its own settings."""
    changed = api_pb2.Function()
    changed.CopyFrom(definition)
    if options is None:
        return changed
    given = {field.name for field, _ in options.ListFields()}
    for name in SAME_NAME:
        if name in given:
            setattr(changed, name, getattr(options, name))
    for name, setting in AUTOSCALER.items():
        if name in given:
            setattr(changed.autoscaler_settings, setting, getattr(options, name))
    if "max_concurrent_inputs" in given and "target_concurrent_inputs" not in given:
        changed.target_concurrent_inputs = 0
    if options.HasField("resources"):
        changed.resources.MergeFrom(options.resources)
    if options.HasField("retry_policy"):
        changed.retry_policy.CopyFrom(options.retry_policy)
    if options.HasField("scheduler_placement"):
        changed.scheduler_placement.CopyFrom(options.scheduler_placement)
    _replace(changed, "secret_ids", options.secret_ids, options.replace_secret_ids)
    _replace(changed, "volume_mounts", options.volume_mounts, options.replace_volume_mounts)
    _replace(changed, "cloud_bucket_mounts", options.cloud_bucket_mounts, options.replace_cloud_bucket_mounts)
    return changed


def _replace(definition: api_pb2.Function, name: str, values: Any, replace: bool) -> None:
    if replace:
        definition.ClearField(name)  # pyright: ignore[reportArgumentType]
    getattr(definition, name).extend(values)


def data_with_options(data: api_pb2.FunctionData | None, options: Any) -> api_pb2.FunctionData | None:
    """The same for the list of definitions by GPU: another GPU leaves one of them."""
    if data is None or options is None:
        return data
    changed = api_pb2.FunctionData()
    changed.CopyFrom(data)
    if options.resources.HasField("gpu_config"):
        del changed.ranked_functions[1:]
    for ranked in changed.ranked_functions:
        ranked.function.CopyFrom(with_options(ranked.function, options))
    if changed.ranked_functions:
        _copy_common(changed.ranked_functions[0].function, changed)
    return changed


def data_of(definition: api_pb2.Function) -> api_pb2.FunctionData:
    """What is kept of a function that the client defined without a list of definitions by GPU."""
    data = api_pb2.FunctionData()
    data.ranked_functions.add().function.CopyFrom(definition)
    _copy_common(definition, data)
    return data


def _copy_common(definition: api_pb2.Function, data: api_pb2.FunctionData) -> None:
    """Copies the fields that are set and that both messages have."""
    both = data.DESCRIPTOR.fields_by_name
    for field, value in definition.ListFields():
        if field.name not in both:
            continue
        if isinstance(value, str | bytes | int | float):
            setattr(data, field.name, value)
        else:
            data.ClearField(field.name)  # pyright: ignore[reportArgumentType]
            _fill(getattr(data, field.name), value)


def _fill(target: Any, value: Any) -> None:
    if isinstance(target, Message):
        target.CopyFrom(value)
    else:  # a list, or a map, of messages or plain values
        target.MergeFrom(value)
