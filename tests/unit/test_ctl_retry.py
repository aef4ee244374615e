"""Trying again: only after a lost link, ever more slowly, and each try with a clean slate."""

from __future__ import annotations

import asyncio

import pytest

from modelsyncd.ctl.retry import insist
from modelsyncd.errors import ConflictError, RoadError, first_of
from modelsyncd.link.backoff import Backoff


class Attempts:
    """Fails in the given ways, one after the other, then returns."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.moved = 0
        self.marks: list[int] = []

    async def __call__(self) -> str:
        task = asyncio.current_task()
        assert task is not None
        self.marks.append(task.cancelling())
        if not self._failures:
            return "done"
        failure = self._failures.pop(0)

        async def fail() -> None:
            raise failure

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        except* (RoadError, ConflictError) as errors:
            seen = first_of(errors)
        raise seen


def quick() -> Backoff:
    return Backoff(floor=0.0, cap=0.0)


async def test_a_lost_link_is_tried_again_with_a_note() -> None:
    attempts, notes = Attempts(RoadError("cut"), RoadError("cut again")), list[str]()
    assert await insist(attempts, retry=True, note=notes.append, backoff=quick()) == "done"
    assert [note.partition(";")[0] for note in notes] == ["cut", "cut again"]


async def test_without_retry_a_lost_link_is_the_end() -> None:
    with pytest.raises(RoadError, match="cut"):
        await insist(Attempts(RoadError("cut")), retry=False, note=lambda _: None)


async def test_what_is_not_the_roads_fault_is_not_tried_again() -> None:
    attempts = Attempts(ConflictError("taken"))
    with pytest.raises(ConflictError, match="taken"):
        await insist(attempts, retry=True, note=lambda _: None, backoff=quick())
    assert len(attempts.marks) == 1


async def test_no_try_inherits_a_mark_of_cancellation_from_the_one_before() -> None:
    attempts = Attempts(RoadError("cut"), RoadError("cut"))
    await insist(attempts, retry=True, note=lambda _: None, backoff=quick())
    assert attempts.marks == [0, 0, 0]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_progress_makes_the_waits_short_again() -> None:
    class Watched(Backoff):
        resets = 0

        def reset(self, spread: float = 0.0) -> None:
            self.resets += 1
            super().reset(spread)

    waits = Watched(0.0, 0.0)
    moves = iter([0, 5, 5, 5, 5])
    await insist(
        Attempts(RoadError("cut"), RoadError("cut")),
        retry=True,
        note=lambda _: None,
        moved=lambda: next(moves),
        backoff=waits,
    )
    assert waits.resets == 1


async def test_who_waits_between_two_tries_can_be_stopped() -> None:
    noted = asyncio.Event()

    async def wait() -> None:
        await insist(Attempts(RoadError("cut")), retry=True, note=lambda _: noted.set(), backoff=Backoff(60.0, 60.0))

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(wait())
        await noted.wait()
        task.cancel()
    assert task.cancelled()
