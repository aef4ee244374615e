"""The only place that tries again: after a lost link, ever more slowly, for as long as the person waits.

Only the road's errors are tried again: any other would fail the same way. There is no count of tries, because a link
that is down for an hour is no reason to lose a night's push.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from modelsyncd.ctl.figures import duration
from modelsyncd.errors import ModelsyncError, RoadError, first_of
from modelsyncd.link.backoff import Backoff

T = TypeVar("T")


async def insist(
    attempt: Callable[[], Awaitable[T]],
    *,
    retry: bool,
    note: Callable[[str], None],
    moved: Callable[[], int] = lambda: 0,
    backoff: Backoff | None = None,
) -> T:
    """What the attempt returns. `moved` grows while attempts get anywhere: the waiting then begins from the shortest.

    Raises RoadError at once without `retry`, and every other error.
    """
    waits = backoff or Backoff()
    while True:
        before = moved()
        outcome = await _apart(attempt)
        if not isinstance(outcome, RoadError):
            return outcome
        if not retry:
            raise outcome
        if moved() > before:
            waits.reset()
        wait = waits.next(random.random())  # noqa: S311 -- spreads tries in time, hides nothing
        note(f"{outcome.message}; trying again in {duration(wait)}, what was sent is kept")
        await asyncio.sleep(wait)


async def _apart(attempt: Callable[[], Awaitable[T]]) -> T | RoadError:
    """An attempt in a task of its own.

    A TaskGroup that fails leaves a mark on the task that it ran in (`Task.cancelling`, before Python 3.13); after a
    lost link, later attempts would take that mark for a wish to end.
    """

    async def outcome() -> T | RoadError:
        try:
            return await attempt()
        except RoadError as error:
            return error

    failure: ModelsyncError | None = None
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(outcome())
    except* ModelsyncError as failed:
        failure = first_of(failed)
    if failure is not None:
        raise failure
    return task.result()
