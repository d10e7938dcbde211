"""Two containers, one job: attempts never overlap, and one end counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import FakeDispatcher
from ryla_modal.dispatcher import CallOutcome
from ryla_modal.job_claims import ATTEMPTS, JobClaims, lease_seconds
from ryla_modal.job_states import DISPATCH_SECONDS, REDISPATCH_SECONDS, JobStates
from ryla_modal.stores import MemoryStore


class SlowStore(MemoryStore):
    """Lets others run at every call, as a store over a network does."""

    async def get(self, key: str) -> Any:
        await asyncio.sleep(0)
        return await super().get(key)

    async def put_if_absent(self, key: str, value: Any) -> bool:
        await asyncio.sleep(0)
        return await super().put_if_absent(key, value)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def claims_of(store: MemoryStore, worker: str, clock: Clock | None = None, lease: float = 30) -> JobClaims:
    return JobClaims(store, worker, lease=lease, clock=clock or Clock())


async def test_of_many_containers_that_race_for_a_job_one_runs_it() -> None:
    store, ran = SlowStore(), list[str]()

    async def container(name: str) -> None:
        attempt = await claims_of(store, name).take("job", f"call of {name}")
        if attempt is not None:
            async with attempt:
                ran.append(name)
                assert await attempt.end({"status": "succeeded", "by": name})

    await asyncio.gather(*(container(f"c{number}") for number in range(20)))
    assert len(ran) == 1
    assert await store.get("end:job") == {"status": "succeeded", "by": ran[0]}
    assert await claims_of(store, "late").take("job", "another call") is None


async def test_of_two_containers_that_race_for_a_dead_holders_job_one_runs_it() -> None:
    store, clock = SlowStore(), Clock()
    first = await claims_of(store, "dead", clock).take("job", "call")
    assert first is not None
    clock.now += 31
    taken = await asyncio.gather(*(claims_of(store, name, clock).take("job", name) for name in ("b", "c")))
    (second,) = [attempt for attempt in taken if attempt is not None]
    assert second.number == 2
    # It was not dead after all: the first end counts, whosoever it is, and there is no second one.
    assert await first.end({"by": "dead"})
    assert not await second.end({"by": "second"})


async def test_a_delivery_that_comes_again_waits_for_the_lease_and_another_one_does_not() -> None:
    store = MemoryStore()
    held = await JobClaims(store, "a", lease=1).take("job", "call")
    assert held is not None
    assert await JobClaims(store, "b", lease=1).take("job", "another call") is None
    async with asyncio.timeout(20):
        again = await JobClaims(store, "b", lease=1).take("job", "call")
    assert again is not None
    assert again.number == 2


async def test_a_holder_keeps_its_job_alive_and_one_that_lets_go_frees_it_at_once() -> None:
    store = MemoryStore()
    attempt = await JobClaims(store, "a", lease=1).take("job", "call")
    assert attempt is not None
    async with attempt:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await JobClaims(store, "b", lease=1).take("job", "call")
        await attempt.release()
    async with asyncio.timeout(20):
        assert await JobClaims(store, "b", lease=1).take("job", "call") is not None


async def test_a_holder_that_cannot_give_signs_of_life_is_told_before_its_lease_is_over() -> None:
    class Gone(MemoryStore):
        away = False

        async def put(self, key: str, value: Any) -> None:
            if self.away:
                raise ConnectionError("no store")
            await super().put(key, value)

    store = Gone()
    attempt = await JobClaims(store, "a", lease=1).take("job", "call")
    assert attempt is not None
    store.away = True
    async with attempt, asyncio.timeout(20):
        await attempt.lost.wait()


async def test_a_closed_job_is_never_run_and_a_running_one_cannot_be_closed() -> None:
    store, clock = MemoryStore(), Clock()
    gateway = claims_of(store, "", clock)
    assert await gateway.close("idle")
    assert await claims_of(store, "a", clock).take("idle", "call") is None
    assert await claims_of(store, "a", clock).take("busy", "call") is not None
    assert not await gateway.close("busy")
    clock.now += 31
    assert await gateway.close("busy")
    assert await gateway.close("busy")


@pytest.mark.parametrize("text", ["0", "601", "soon"])
def test_a_lease_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"RYLA_LEASE_SECONDS|could not convert"):
        lease_seconds({"RYLA_LEASE_SECONDS": text})


class Gateway:
    """The gateway's view of one job."""

    def __init__(self) -> None:
        self.store, self.dispatcher, self.clock = MemoryStore(), FakeDispatcher(), Clock()
        self.job: dict[str, Any] = {"id": "job", "created": self.clock.now}
        claims = claims_of(self.store, "", self.clock)
        self.states = JobStates(self.store, self.dispatcher, claims, self.clock)

    async def status(self) -> str:
        return (await self.states.of(self.job))["status"]

    async def claimed(self, worker: str) -> None:
        """A worker begins and is never heard of again."""
        attempt = await claims_of(self.store, worker, self.clock).take("job", worker)
        assert attempt is not None
        state = {**await self.states.of(self.job), "status": "running", "attempt": attempt.number}
        await self.store.put("state:job", state)


async def test_a_job_whose_gateway_died_before_it_was_dispatched_is_dispatched_by_another_once() -> None:
    gateway = Gateway()
    assert await gateway.status() == "queued"
    assert gateway.dispatcher.calls == []
    gateway.clock.now += REDISPATCH_SECONDS + 1
    for _ in range(3):
        assert await gateway.status() == "queued"
    assert gateway.dispatcher.calls == ["job"]
    gateway.clock.now += DISPATCH_SECONDS
    assert await gateway.status() == "queued"


async def test_a_worker_that_dies_is_replaced_after_its_lease_and_not_for_ever() -> None:
    gateway = Gateway()
    await gateway.store.put("call:job", "call-job")
    for attempt in range(1, ATTEMPTS + 1):
        await gateway.claimed(f"worker {attempt}")
        gateway.dispatcher.outcomes["call-job"] = CallOutcome("lost", "container was killed")
        assert await gateway.status() == "running"
        assert len(gateway.dispatcher.calls) == attempt - 1
        gateway.clock.now += 31
        if attempt < ATTEMPTS:
            assert await gateway.status() == "running"
            assert await gateway.status() == "running"
            assert len(gateway.dispatcher.calls) == attempt
    state = await gateway.states.of(gateway.job)
    assert (state["status"], state["error"]["code"]) == ("failed", "worker_lost")


async def test_a_lease_that_ends_between_two_questions_costs_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway()
    await gateway.store.put("call:job", "call-job")
    await gateway.claimed("worker")
    gateway.dispatcher.outcomes["call-job"] = CallOutcome("lost", "container was killed", is_interrupted=True)
    gateway.clock.now += 29.9
    monkeypatch.setattr(Clock, "__call__", passing)
    assert await gateway.status() == "running"
    assert await gateway.status() == "running"
    assert gateway.dispatcher.calls == ["job"]


def passing(clock: Clock) -> float:
    """Time goes on with every look at the clock."""
    clock.now += 0.08
    return clock.now


async def test_a_worker_that_dies_before_it_has_claimed_is_replaced_at_once() -> None:
    gateway = Gateway()
    await gateway.store.put("call:job", "call-job")
    gateway.dispatcher.outcomes["call-job"] = CallOutcome("lost", "killed", is_interrupted=True)
    assert await gateway.status() == "queued"
    assert gateway.dispatcher.calls == ["job"]
    attempt = await claims_of(gateway.store, "next", gateway.clock).take("job", "call")
    assert attempt is not None
    assert attempt.number == 2


async def test_a_call_that_ran_too_long_is_not_repeated() -> None:
    gateway = Gateway()
    await gateway.store.put("call:job", "call-job")
    await gateway.claimed("worker")
    gateway.dispatcher.outcomes["call-job"] = CallOutcome("lost", "timeout", is_timeout=True)
    gateway.clock.now += 31
    assert await gateway.status() == "failed"
    assert gateway.dispatcher.calls == []


async def test_a_cancel_is_confirmed_when_the_worker_has_let_go_and_not_before() -> None:
    gateway = Gateway()
    await gateway.store.put("call:job", "call-job")
    await gateway.claimed("worker")
    await gateway.store.put("cancel:job", True)
    gateway.dispatcher.outcomes["call-job"] = CallOutcome("canceled")
    assert await gateway.status() == "canceling"
    gateway.clock.now += 31  # the worker died meanwhile
    assert await gateway.status() == "canceled"
