"""The only place that tells nodes in a session that the catalogue changed about what they follow.

`tidings.py` says whom and when; this hears what changes, and says the word. All methods belong to one event loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from math import inf

from cloud_hub.events import Bus, Moved, Released
from cloud_hub.tidings import TICK, Tidings
from modelsyncd.errors import RefusedError
from modelsyncd.names import ModelName

JITTER: Callable[[], float] = random.random  # no secret

Follow = Callable[[frozenset[ModelName]], None]
"""Says what the node of a session is to be told of from now on."""


class Herald:
    """Of one hub process."""

    def __init__(self, bus: Bus, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self._tidings = Tidings(JITTER)
        self._says: dict[str, Callable[[], None]] = {}
        self._news = asyncio.Event()

    @contextmanager
    def hearing(self, node: str, say: Callable[[], None]) -> Iterator[Follow]:
        """For as long as the node's session lasts `say` says the word to it; of two sessions the newest counts."""
        self._tidings.forget(node)
        self._says[node] = say

        def follow(models: frozenset[ModelName]) -> None:
            if self._says.get(node) is say:
                self._tidings.follow(node, models, self._clock())
                self._news.set()

        try:
            yield follow
        finally:
            if self._says.get(node) is say:
                del self._says[node]
                self._tidings.forget(node)

    def changed(self, models: Iterable[ModelName]) -> None:
        """Something changed in the catalogue about these, and is there for whoever asks."""
        self._tidings.changed(models, self._clock())
        self._news.set()

    def asked(self, node: str) -> None:
        """The node is about to be told what changed until now."""
        self._tidings.asked(node, self._clock())

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear())
            group.create_task(self._tell())

    async def _hear(self) -> None:
        while True:
            with self._bus.subscribe(lambda event: isinstance(event, Released | Moved)) as events:
                try:
                    while (event := await events.next()) is not None:
                        if isinstance(event, Released | Moved):
                            self.changed([event.model])
                    return  # the hub stops
                except RefusedError:
                    self._tidings.everything_changed(self._clock())  # more happened than could be heard
                    self._news.set()

    async def _tell(self) -> None:
        while True:
            await self._rest()
            await asyncio.sleep(TICK)  # changes come several at once, and nodes are told some at a time
            self._news.clear()
            for node in self._tidings.take(self._clock()):
                self._says[node]()

    async def _rest(self) -> None:
        """Until somebody is due."""
        due = self._tidings.next_at
        with suppress(TimeoutError):
            async with asyncio.timeout(None if due == inf else max(0.0, due - self._clock())):
                await self._news.wait()
