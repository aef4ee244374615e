"""The only place where a program that blocks lets asynchronous work be done: a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from modelsyncd.errors import ConflictError

T = TypeVar("T")


class HubLoop:
    """Runs from the start until `close`. Safe to use from several threads, but not from its own."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._gate = threading.Lock()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop
        self._group: asyncio.TaskGroup
        self._tasks: set[asyncio.Task[None]] = set()
        self._end: asyncio.Event
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="modelsyncd-hub", daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def closed(self) -> bool:
        """Whether nothing runs here any more."""
        return self._closed

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work returns or raises. Raises ConflictError when the loop is closed before or meanwhile."""
        outcome: Future[T] = Future()
        with self._gate:
            if self._closed:
                work.close()
                raise _closed()
            self._loop.call_soon_threadsafe(self._begin, work, outcome)
        try:
            return outcome.result()
        except CancelledError:
            raise _closed() from None
        except BaseException:
            outcome.cancel()  # a Ctrl-C in the middle: nobody waits for it any more
            raise

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Ends what is under way, does this last, and ends the thread; the second time nothing happens."""
        with self._gate:
            if self._closed:
                last.close()
                return
            self._closed = True
            outcome: Future[None] = Future()
            self._loop.call_soon_threadsafe(self._finish, last, outcome)
        try:
            outcome.result()
        finally:
            self._thread.join()

    async def _live(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with asyncio.TaskGroup() as self._group:
            self._ready.set()
            await self._end.wait()

    def _begin(self, work: Coroutine[Any, Any, T], outcome: Future[T]) -> asyncio.Task[None]:
        task = self._group.create_task(_into(work, outcome))
        self._tasks.add(task)

        def ended(_task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            work.close()  # for one that was cancelled before it began
            outcome.cancel()

        def given_up(done: Future[T]) -> None:
            if done.cancelled():
                self._loop.call_soon_threadsafe(task.cancel)

        task.add_done_callback(ended)
        outcome.add_done_callback(given_up)
        return task

    def _finish(self, last: Coroutine[Any, Any, None], outcome: Future[None]) -> None:
        for task in list(self._tasks):
            task.cancel()
        self._begin(last, outcome).add_done_callback(lambda _: self._end.set())


async def _into(work: Coroutine[Any, Any, T], outcome: Future[T]) -> None:
    """Does the work, and lets the waiting thread have what comes of it."""
    try:
        result = await work
    except Exception as error:  # noqa: BLE001 -- it is raised in the thread that waits
        _settle(outcome, error)
    else:
        if outcome.set_running_or_notify_cancel():
            outcome.set_result(result)


def _settle(outcome: Future[T], error: Exception) -> None:
    if outcome.set_running_or_notify_cancel():
        outcome.set_exception(error)


def _closed() -> ConflictError:
    return ConflictError("this client was closed", safe="what was fetched stays in the cache")
