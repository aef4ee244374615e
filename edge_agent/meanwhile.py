"""The only place that lets something go on beside work on the disk: a switch waits for nothing that may take long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from modelsyncd.errors import ModelsyncError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[T]):
    """How work ended: exactly one of the two counts."""

    found: list[T]
    error: ModelsyncError | None = None


async def meanwhile(
    work: Callable[[], Awaitable[T]], kicked: asyncio.Event, turn: Callable[[], Awaitable[object]]
) -> T:
    """What work comes to; whenever somebody kicks before its end there is a turn, which is ended before this returns.

    `kicked` is set afterwards if there was one: the kick may have been about something that is no matter of a turn.
    Raises what work does.
    """
    told = False
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_outcome(work))
        while True:
            kick = group.create_task(kicked.wait())
            await asyncio.wait({task, kick}, return_when=asyncio.FIRST_COMPLETED)
            kick.cancel()
            if task.done():
                break
            told = True
            kicked.clear()
            await turn()
    if told:
        kicked.set()
    outcome = task.result()
    if outcome.error is not None:
        raise outcome.error
    return outcome.found[0]


async def undisturbed(
    work: Callable[[], Awaitable[T]],
    kicked: asyncio.Event,
    turn: Callable[[], Awaitable[object]],
    turns: Callable[[], int],
) -> T:
    """As `meanwhile`, for work that turns make useless: when `turns` counts more than before, it is done again.

    A kick makes one turn and no more, so that a turn which fails each time does not keep this from its end.
    """
    told = False
    try:
        while True:
            before = turns()
            found = await meanwhile(work, kicked, turn)
            told |= kicked.is_set()
            kicked.clear()
            if turns() == before:
                return found
    finally:
        if told:
            kicked.set()


async def _outcome(work: Callable[[], Awaitable[T]]) -> _Outcome[T]:
    try:
        return _Outcome([await work()])
    except ModelsyncError as error:  # not through the group, which would end a turn in its middle
        return _Outcome([], error)
