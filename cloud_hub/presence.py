"""The only place that knows which nodes are in a session with this hub process right now.

Law: one session of each node, and the newest wins: an agent whose link died silently comes back long before the hub
notices the death. Nothing here grows with traffic: a change is a flag. All methods
belong to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from modelsyncd.errors import ModelsyncError, RefusedError
from modelsyncd.session.frames import Hello

T = TypeVar("T")


class Newest(Generic[T]):
    """A box for one value: putting replaces what nobody took, so it can be filled at any rate."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._filled = asyncio.Event()

    def put(self, value: T) -> None:
        """Replaces what is in the box."""
        self._value = value
        self._filled.set()

    def empty(self) -> T | None:
        """What is in the box, if anything; afterwards it is empty."""
        value, self._value = self._value, None
        self._filled.clear()
        return value

    async def take(self) -> T:
        """Waits until there is a value, and empties the box."""
        while True:
            await self._filled.wait()
            value = self.empty()
            if value is not None:
                return value


class Live:
    """One running session of a node: what it should look at next, and how to end it."""

    def __init__(
        self, node: str, end: Callable[[ModelsyncError], None], rate: Callable[[], float] = lambda: 0.0
    ) -> None:
        """`rate` says what the link to the node carries, in bytes a second; 0 while that is unknown."""
        self.node = node
        self.stirred: Newest[bool] = Newest()
        """Filled when something may have changed for this node."""
        self.greeting: Hello | None = None
        """What the node said first."""
        self.rate = rate
        self._end = end

    def cut(self, why: ModelsyncError) -> None:
        """Ends the session; the node is told why."""
        self._end(why)


class Presence:
    """The running sessions, by node."""

    def __init__(self) -> None:
        self._live: dict[str, Live] = {}

    @contextmanager
    def enter(self, live: Live) -> Iterator[None]:
        """Holds the node's place while its session lasts; an older session of the same node is cut."""
        older = self._live.get(live.node)
        self._live[live.node] = live
        if older is not None:
            older.cut(
                RefusedError(
                    f"another session of {live.node} began",
                    safe="what is durable stays on both sides",
                    hint="if two machines use this identity, invite one of them under another name",
                )
            )
        try:
            yield
        finally:
            if self._live.get(live.node) is live:
                del self._live[live.node]

    def live(self, node: str) -> Live | None:
        """The node's session, if it is in one with this process."""
        return self._live.get(node)

    def online(self) -> frozenset[str]:
        """Nodes in a session now."""
        return frozenset(self._live)

    def stir(self, nodes: Iterable[str] | None = None) -> None:
        """Something may have changed for these nodes (None: for all); each looks once, however often it is stirred."""
        for node in list(self._live) if nodes is None else nodes:
            live = self._live.get(node)
            if live is not None:
                live.stirred.put(True)

    def cut(self, node: str, why: ModelsyncError) -> None:
        """Ends the node's session if there is one."""
        live = self._live.get(node)
        if live is not None:
            live.cut(why)
