"""An attempt in a task of its own: its error is only an error, and a wish to end always goes through."""

from __future__ import annotations

import asyncio

import pytest

from modelsyncd.errors import RoadError
from modelsyncd.link.attempt import outcome_of


async def _never() -> None:
    await asyncio.Event().wait()


async def _fail(now: asyncio.Event) -> None:
    await now.wait()
    raise RoadError("cut")


async def _session(now: asyncio.Event) -> None:
    """Two tasks in a group in a group, one of which fails: what a session with a hub looks like."""
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(_never())
            async with asyncio.TaskGroup() as group:
                group.create_task(_never())
                group.create_task(_fail(now))
    except* RoadError as errors:
        failure = errors
    if failure is not None:
        raise RoadError("cut") from failure


async def test_an_attempt_gives_what_it_returns_and_what_it_raises() -> None:
    async def seven() -> int:
        return 7

    now = asyncio.Event()
    now.set()
    assert await outcome_of(seven) == 7
    assert isinstance(await outcome_of(lambda: _session(now)), RoadError)


async def test_a_failed_attempt_leaves_no_mark_on_its_caller() -> None:
    now = asyncio.Event()
    now.set()
    await outcome_of(lambda: _session(now))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("turns", range(8), ids=lambda turns: f"{turns} turns after the failure")
async def test_a_wish_to_end_that_comes_with_a_failure_ends_who_would_try_again(turns: int) -> None:
    tries = 0

    async def session() -> None:
        nonlocal tries
        tries += 1
        await _session(now if tries == 1 else asyncio.Event())  # all but the first would last for ever

    async def again_and_again() -> None:
        while True:
            await outcome_of(session)

    now = asyncio.Event()
    trying = asyncio.create_task(again_and_again())
    await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
    now.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    trying.cancel()
    _, still_trying = await asyncio.wait([trying], timeout=5)
    trying.cancel()
    assert not still_trying
    assert trying.cancelled()
    assert tries <= 2
