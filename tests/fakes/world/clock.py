"""An event loop whose time moves only when nobody has anything to do: an hour of waiting takes no time at all.

Work for threads runs in the loop's own thread after a made-up while, so that one seed is one course of events.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")


class StuckError(Exception):
    """Nobody has anything to do, and nobody waits for a time: it would wait for ever."""


class _NoWaiting(selectors.SelectSelector):
    """Passes the time that it should wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StuckError
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`hop` gives the seconds that work in a thread takes to begin."""

    def __init__(self, hop: Callable[[], float]) -> None:
        self._passing = _NoWaiting()
        super().__init__(self._passing)
        self._hop = hop

    def time(self) -> float:
        return self._passing.now

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future: asyncio.Future[Any] = self.create_future()

        def work() -> None:
            try:
                result = func(*args)  # a thread goes on though nobody waits for it any more
            except Exception as error:  # noqa: BLE001 - handed to whoever waits, as an executor does
                if not future.cancelled():
                    future.set_exception(error)
            else:
                if not future.cancelled():
                    future.set_result(result)

        self.call_later(self._hop(), work)
        return future


def run(main: Callable[[], Coroutine[Any, Any, T]], rng: Random) -> T:
    """Runs it to its end in virtual time. Raises StuckError."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(lambda: rng.random() * 0.2)) as runner:
        return runner.run(main())
