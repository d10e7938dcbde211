"""Retries, timeouts, expiry, options and logs of function calls, with the real client."""

from __future__ import annotations

import uuid

import pytest
from local_clouds.modal.call_history import RESULT_LIMIT, RESULT_RETENTION, CallHistory, Retention
from local_clouds.modal.records import AppRecord, Call, FunctionRecord
from modal_cloud import KEPT, Cloud
from modal_proto import api_pb2

LOOK_UP = """
import time, uuid
key = uuid.uuid4().hex
notes = modal.Dict.from_name('sample-notes', create_if_missing=True)
function = lambda name: modal.Function.from_name('sample', name)
def until(found):
    deadline = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)
"""


def test_map_retries_each_input_and_returns_the_exception_of_the_one_that_fails(cloud: Cloud) -> None:
    code = """
pairs = [(key, number) for number in range(4)]
for result in function('picky').starmap(pairs, return_exceptions=True):
    print(repr(result))
print([notes[f'{key}-{number}'] for number in range(4)])
try:
    list(function('picky').starmap(pairs))
except ValueError as error:
    print('raised', error)
"""
    lines = cloud.python(LOOK_UP + code).splitlines()
    assert lines[:2] == ["0", "10"]
    assert "ValueError" in lines[2]
    assert "not 2" in lines[2]
    assert lines[3:] == ["30", "[1, 2, 2, 1]", "raised not 2"]


def test_a_timeout_is_a_failure_that_is_retried(cloud: Cloud) -> None:
    code = """
again = function('stuck').spawn(key, 1)
twice = function('stuck').spawn(key + 'x', 9)
print(again.get())
try:
    twice.get()
except modal.exception.FunctionTimeoutError as error:
    print('timeout of 1s' in str(error), notes[key + 'x'])
"""
    assert cloud.python(LOOK_UP + code).splitlines() == ["2", "True 2"]


def test_an_input_beside_one_that_times_out_runs_again(cloud: Cloud) -> None:
    code = """
hung = function('neighbour').spawn(key, True)
until(lambda: notes.contains(f'{key}-half'))
beside = function('neighbour').spawn(key, False)
try:
    hung.get()
except modal.exception.FunctionTimeoutError:
    notes[f'{key}-free'] = True
print(beside.get())
"""
    assert cloud.python(LOOK_UP + code) == "2"


def test_an_expired_result_is_told_from_a_pending_one(cloud: Cloud) -> None:
    code = f"""
first = function('square').spawn(3)
print(first.get())
modal.FunctionCall.gather(*[function('square').spawn(n) for n in range({KEPT})])
until(lambda: state() <= {KEPT})
for timeout in (0, 0.2):
    try:
        modal.FunctionCall.from_id(first.object_id).get(timeout=timeout)
    except modal.exception.OutputExpiredError:
        print('expired')
try:
    modal.FunctionCall.from_id(first.object_id).num_inputs()
except modal.exception.NotFoundError as error:
    print(error)
"""
    state = f"import httpx; state = lambda: httpx.get('{cloud.modal.web_url}/_local/state').json()['calls']\n"
    lines = cloud.python(LOOK_UP + state + code).splitlines()
    assert lines[:3] == ["9", "expired", "expired"]
    assert lines[3].endswith("has expired")
    cloud.fault("output-expired:1")
    code = """
call = function('square').spawn(3)
for attempt in range(2):
    try:
        print(call.get(timeout=0 if attempt == 0 else 20))
    except modal.exception.OutputExpiredError:
        print('expired')
"""
    assert cloud.python(LOOK_UP + code).splitlines() == ["expired", "9"]


def test_finished_calls_are_kept_seven_days_and_ten_thousand_of_them() -> None:
    now = [0.0]
    history = CallHistory(clock=lambda: now[0])
    function = FunctionRecord("fu-x", AppRecord("ap-x", "main", "x"), api_pb2.Function())
    calls = [Call(function) for _ in range(3)]
    for call in calls:
        history.add(call)
    history.finished(calls[0])
    now[0] = RESULT_RETENTION
    history.finished(calls[1])
    assert history.expire() == []
    history.resumed(calls[1])  # it has got another input
    now[0] += 1
    assert history.expire() == [calls[0]]
    assert history.has_expired(calls[0].id)
    assert not history.has_expired(calls[1].id)
    now[0] += 9 * RESULT_RETENTION
    assert history.expire() == []  # what is under way never expires
    assert list(history) == calls[1:]
    assert Retention() == Retention(RESULT_RETENTION, RESULT_LIMIT) == Retention(7 * 86400, 10_000)


def test_answered_web_requests_are_forgotten(cloud: Cloud) -> None:
    cloud.web("GET", "/warm")
    before = cloud.state()["calls"]
    for _ in range(3):
        assert cloud.web("GET", "/x").status_code == 200
    assert cloud.state()["calls"] == before


def test_options_make_a_variant_of_a_class(cloud: Cloud) -> None:
    code = """
Short = Worker.with_options(timeout=1, buffer_containers=0, env={'SECRET_VALUE': 'other'})
try:
    Short().sleep.remote(60)
except modal.exception.FunctionTimeoutError as error:
    print('timeout of 1s' in str(error))
print(Short().work.remote('x')['secret'], Worker().work.remote('x')['secret'])
Both = Worker.with_concurrency(max_inputs=2)
results = list(Both().meet.map([key, key]))
print(results)
"""
    assert cloud.python(LOOK_UP + code).splitlines() == ["True", "other hush", "['met', 'met']"]
    shown = cloud.listed("function", "variants", "sample/Worker.*")
    options = [variant["options"] or {} for variant in shown]
    assert any(option.get("timeout") == 1 for option in options), shown


def test_scaling_is_read_and_updated(cloud: Cloud) -> None:
    code = """
square = function('square')
square.autoscaler.update(min_containers=1)
print(square.autoscaler.update(scaledown_window=5, max_containers=3))
print(square.autoscaler.settings())
until(lambda: square.get_current_stats().num_total_runners == 1)
square.autoscaler.update(min_containers=0)
print(modal.Function.from_id(square.object_id).remote(5))
print(square.info().timeout)
entered = notes.get('entered', 0)
warm = Worker(name='warm')
warm.update_autoscaler(min_containers=1)
until(lambda: notes.get('entered', 0) > entered)
warm.update_autoscaler(min_containers=0)
"""
    updated, read, result, timeout = cloud.python(LOOK_UP + code).splitlines()
    assert updated == read
    assert "min_containers=1, max_containers=3" in read
    assert "scaledown_window=5" in read
    assert (result, timeout) == ("25", "300")


def test_results_of_spawned_maps_by_index(cloud: Cloud) -> None:
    code = """
call = function('square').experimental_spawn_map(range(60))
print(call.num_inputs(), call.get(index=59), list(call.iter(start=50, end=53)))
print(function('square').spawn_map([1]))
"""
    assert cloud.python(LOOK_UP + code).splitlines() == ["60 3481 [2500, 2601, 2704]", "None"]


def test_logs_and_graph_of_a_call(cloud: Cloud) -> None:
    word = uuid.uuid4().hex
    code = f"""
call = function('shout').spawn({word!r})
print(call.get())
until(lambda: len(list(call.logs.tail())) == 1)
print([entry.message for entry in call.logs.stream(timeout=20)])
print(modal.FunctionCall.from_id(call.object_id).num_inputs())
root, = call.get_call_graph()
print(root.function_name, root.status.name, [(c.function_name, c.status.name) for c in root.children])
"""
    lines = cloud.python(LOOK_UP + code).splitlines()
    assert lines[:3] == ["17", str([f"shouting {word}\n"]), "1"]
    assert lines[3] == "shout SUCCESS [('square', 'SUCCESS')]"
    assert word in cloud.client("app", "logs", "sample", "--search", word).stdout
    assert word in cloud.client("app", "logs", "sample", "--since", "1h").stdout
    assert word in cloud.client("function", "logs", "sample/shout").stdout
    assert word not in cloud.client("function", "logs", "sample/square").stdout


@pytest.mark.parametrize("since", [(), ("--since", "1h")])
def test_calls_of_a_function(cloud: Cloud, since: tuple[str, ...]) -> None:
    cloud.python("modal.Function.from_name('sample', 'square').remote(2)")
    call = cloud.listed("function", "calls", "sample/square", *since)[0]
    assert call["status"] == "success"
    assert call["container_id"].startswith("ta-")
    assert call["execution_time_seconds"] < 10
