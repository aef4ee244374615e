"""The only place where the hub tells whoever watches what happened: an in-process bus with a bounded queue for each.

Law: publishing never waits. A subscriber that reads too slowly is dropped with words that say so; it loses nothing that
it can't ask the catalogue for, because events only say that something changed. All methods belong to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from modelsyncd.errors import RefusedError
from modelsyncd.names import ModelName

QUEUE = 1_024  # events that wait for one subscriber: a fleet of that many nodes may come back at once


@dataclass(frozen=True, slots=True)
class Released:
    """A release was committed; `at` is seconds since 1970 UTC."""

    at: float
    model: ModelName
    number: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A channel was moved; numbers are 0 for none, `at` is seconds since 1970 UTC."""

    at: float
    model: ModelName
    channel: str
    from_number: int
    to_number: int
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class NodeChanged:
    """A node came, went, reported, or was changed; `at` is seconds since 1970 UTC."""

    at: float
    node: str


@dataclass(frozen=True, slots=True)
class Retried:
    """Nodes were told to try again what a channel names; `at` is seconds since 1970 UTC."""

    at: float
    model: ModelName
    channel: str
    nodes: tuple[str, ...]
    who: str


Event = Released | Moved | NodeChanged | Retried


class Subscription:
    """What one watcher has not read yet."""

    def __init__(self, wants: Callable[[Event], bool], size: int) -> None:
        self._wants = wants
        self._size = size
        self._waiting: asyncio.Queue[Event | None] = asyncio.Queue()  # bounded by `offer`, so that the end always fits
        self._dropped = False

    def offer(self, event: Event) -> None:
        """Queues the event if it is wanted; drops this subscriber when its queue is full."""
        if self._dropped or not self._wants(event):
            return
        if self._waiting.qsize() >= self._size:
            self._dropped = True
            self._waiting.put_nowait(None)
            return
        self._waiting.put_nowait(event)

    def end(self) -> None:
        """No more events will come."""
        self._waiting.put_nowait(None)

    async def next(self) -> Event | None:
        """The next event, or None when the bus was closed. Raises RefusedError when this subscriber was dropped."""
        event = await self._waiting.get()
        if event is None:
            self._waiting.put_nowait(None)  # the end stays the end
        if event is None and self._dropped:
            raise RefusedError(
                f"events were read too slowly: more than {self._size} were waiting",
                safe="nothing is lost: events only say what changed in the catalogue",
                hint="watch again, and list what you missed",
            )
        return event


class Bus:
    """All subscribers of one hub process."""

    def __init__(self, queue: int = QUEUE) -> None:
        self._queue = queue
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    def publish(self, event: Event) -> None:
        """Tells everyone, and waits for nobody."""
        for subscription in self._subscriptions:
            subscription.offer(event)

    @contextmanager
    def subscribe(self, wants: Callable[[Event], bool] = lambda _: True) -> Iterator[Subscription]:
        """A subscription to the events that `wants` picks, for as long as the context lasts."""
        subscription = Subscription(wants, self._queue)
        self._subscriptions.add(subscription)
        if self._closed:
            subscription.end()
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """Ends every subscription; the hub stops."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.end()
