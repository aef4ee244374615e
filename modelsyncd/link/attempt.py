"""The only place that tries something in a task of its own, for whoever tries again afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def outcome_of(attempt: Callable[[], Awaitable[T]]) -> T | Exception:
    """What the attempt returned, or the error that it raised.

    Two things go wrong when an attempt with TaskGroups inside runs in its caller's own task, both before Python 3.13
    (https://github.com/python/cpython/issues/116720). A group that fails leaves a mark on the task
    (`Task.cancelling`), which a later timeout takes for a wish to end. And a wish to end that comes while a group
    fails is lost behind the failure: who tries again would never stop.
    """

    async def outcome() -> T | Exception:
        try:
            return await attempt()
        except Exception as error:  # noqa: BLE001 - handed to the caller as it is
            return error

    async with asyncio.TaskGroup() as group:  # whose only task never fails: a wish to end always goes through
        task = group.create_task(outcome())
    return task.result()
