"""The short form of `npm run test:kills`: a few kills, so that its own parts hold."""

from __future__ import annotations

import pytest
from kills.run import kill_run
from local_modal import needs_local_clouds


@needs_local_clouds
async def test_a_few_kills_lose_no_job_and_run_none_twice(tmp_path_factory: pytest.TempPathFactory) -> None:
    told: list[str] = []
    folder = tmp_path_factory.mktemp("k")  # a short name: containers' sockets are below it
    count = await kill_run(3, seed=5, folder=folder, told=told.append, longest_pause=1.0)
    assert count.holds, (count.to_json(), told)
    assert sum(count.killed.values()) == 3
    assert len(count.sides) == 3
    for side in count.sides.values():
        assert side.succeeded + side.gave_up == side.accepted
