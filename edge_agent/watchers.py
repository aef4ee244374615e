"""The only place that tells jobs of switches: each watcher has a slot for each channel, and the newest switch fills it.

Law: telling never waits. A watcher that is slow, or never comes back, misses the switches between, never the last one,
and holds at most one event for each channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelsyncd.digest import Digest
from modelsyncd.names import ModelRef
from modelsyncd.release import DEFAULT_VARIANT
from modelsyncd.store.version import Version


@dataclass(frozen=True, slots=True)
class Active:
    """A version that is whole, verified and switched in. `since` is seconds since 1970 UTC.

    `path` is the version's folder, or the file when the model is a single file; `channel_path` leads to the same
    through the channel's link, and follows it. `variant` is its name, and `forms` how many the release has.
    """

    ref: ModelRef
    number: int
    manifest: Digest
    release: Digest
    path: Path
    channel_path: Path
    since: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    variant: str = DEFAULT_VARIANT
    forms: int = 1

    @property
    def distinct(self) -> str:
        """The variant's name where the release has others, else "": what reports and numbers call it."""
        return self.variant if self.forms > 1 else ""

    @property
    def version(self) -> Version:
        """Its identity on this node."""
        return Version(self.ref.model, self.number, self.manifest)


@dataclass(frozen=True, slots=True)
class Switch:
    """A channel leads to something else now; `previous` is the number before, 0 for none."""

    active: Active
    previous: int


class Watch:
    """One watcher's slots. Iterate over it; it never ends by itself."""

    def __init__(self, ref: ModelRef | None) -> None:
        self.ref = ref
        self._slots: dict[ModelRef, Switch] = {}
        self._filled = asyncio.Event()

    def fill(self, switch: Switch) -> None:
        """Puts a switch into its slot; one that nobody took yet gives way, but its `previous` stays true."""
        if self.ref is not None and switch.active.ref != self.ref:
            return
        waiting = self._slots.pop(switch.active.ref, None)
        self._slots[switch.active.ref] = switch if waiting is None else replace(switch, previous=waiting.previous)
        self._filled.set()

    async def __aiter__(self) -> AsyncIterator[Switch]:
        while True:
            while self._slots:
                yield self._slots.pop(next(iter(self._slots)))
            self._filled.clear()
            await self._filled.wait()


class Watchers:
    """All who want to be told. Belongs to the loop's thread."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()

    def __len__(self) -> int:
        return len(self._watches)

    @contextmanager
    def watch(self, ref: ModelRef | None) -> Iterator[Watch]:
        """Listens to one channel, or to all with None, until the context ends."""
        watch = Watch(ref)
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    def tell(self, switch: Switch) -> None:
        """Tells everybody whom it concerns; returns at once."""
        for watch in self._watches:
            watch.fill(switch)
