"""The only place that says to a person that a link was lost, and when it is tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from modelsyncd.ctl.figures import duration
from modelsyncd.errors import RoadError
from modelsyncd.exchange import retry as tries
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
    """As `modelsyncd.exchange.retry.insist`, which notes it in a sentence. Raises what that raises."""
    return await tries.insist(attempt, retry=retry, note=noted(note), moved=moved, backoff=backoff)


def noted(note: Callable[[str], None]) -> tries.Note:
    """Notes a lost try in a sentence."""

    def say(error: RoadError, wait: float) -> None:
        note(f"{error.message}; trying again in {duration(wait)}, what was sent is kept")

    return say
