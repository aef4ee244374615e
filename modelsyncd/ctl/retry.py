"""The only place that tries again: after a lost link, ever more slowly, for as long as the person waits.

Only the road's errors are tried again: any other would fail the same way. There is no count of tries, because a link
that is down for an hour is no reason to lose a night's push. A wait ends when this machine has a network again.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from modelsyncd.ctl.figures import duration
from modelsyncd.errors import RoadError
from modelsyncd.link import network
from modelsyncd.link.attempt import outcome_of
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
        outcome = await outcome_of(attempt)
        if not isinstance(outcome, Exception):
            return outcome
        if not retry or not isinstance(outcome, RoadError):
            raise outcome
        if moved() > before:
            waits.reset()
        wait = waits.next(random.random())  # noqa: S311 -- spreads tries in time, hides nothing
        note(f"{outcome.message}; trying again in {duration(wait)}, what was sent is kept")
        await network.pause(wait)
