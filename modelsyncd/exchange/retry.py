"""The only place that tries again at the hub's door: after a lost link, ever more slowly, for as long as one waits.

Only the road's errors are tried again: any other would fail the same way. There is no count of tries, because a link
that is down for an hour is no reason to lose a night's push. A wait ends when this machine has a network again.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from modelsyncd.errors import RoadError
from modelsyncd.link import network
from modelsyncd.link.attempt import outcome_of
from modelsyncd.link.backoff import Backoff

T = TypeVar("T")
Note = Callable[[RoadError, float], None]
"""Told of each lost try, and in how many seconds the next one comes."""


async def insist(
    attempt: Callable[[], Awaitable[T]],
    *,
    retry: bool = True,
    note: Note = lambda _error, _seconds: None,
    moved: Callable[[], int] = lambda: 0,
    backoff: Backoff | None = None,
) -> T:
    """What the attempt returns. `moved` grows while attempts get anywhere: the next then follows at once.

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
            waits.hasten()
        wait = waits.next(random.random())  # noqa: S311 -- spreads tries in time, hides nothing
        note(outcome, wait)
        await network.pause(wait)
