"""The only place where chunks that arrived become plain bytes again, one at a time: decoded, checked, and let go of.

Law: a batch of eight MiB may decode to many times that, so no two of its chunks are plain in memory at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from modelsyncd.codec.registry import NEEDS_BASE, STUMBLES, decode
from modelsyncd.digest import Buffer
from modelsyncd.errors import ModelsyncError
from modelsyncd.session.effects import Keep
from modelsyncd.session.ports import Keeping
from modelsyncd.store.held import Held
from modelsyncd.store.staging import Staging


def same_place(ordinal: int) -> int:
    """For a staging that counts as the giver does."""
    return ordinal


class Arrivals:
    """A batch on its way into a staging; iterating makes (ordinal there, plain bytes) of each that is right."""

    def __init__(
        self, batch: Sequence[Keep], staging: Staging, held: Held, place: Callable[[int], int] = same_place
    ) -> None:
        """`place` tells the staging's ordinal of an arrival's; one that is not in the staging fits nothing."""
        self._batch = batch
        self._staging = staging
        self._held = held
        self._place = place
        self._kept: list[int] = []
        self._spoiled: list[int] = []
        self._cpu = 0.0

    def __iter__(self) -> Iterator[tuple[int, Buffer]]:
        for arrival in self._batch:
            began = time.thread_time()
            place = self._place(arrival.ordinal)
            plain = self._plain(arrival, place)
            self._cpu += time.thread_time() - began
            if plain is None:
                self._spoiled.append(arrival.ordinal)
                continue
            self._kept.append(arrival.ordinal)
            yield place, plain

    def keeping(self) -> Keeping:
        """What became of them, once they were iterated over and what came of it is durable."""
        return Keeping(tuple(self._kept), tuple(self._spoiled), self._cpu)

    def _plain(self, arrival: Keep, place: int) -> Buffer | None:
        """The chunk's bytes; None when it, or its base, is not what it should be: then it is asked for again."""
        if not 0 <= place < len(self._staging.table):
            return None
        size = self._staging.table.sizes[place]
        try:
            plain = decode(arrival.codec, arrival.payload, size, self._base(arrival, size))
        except (ModelsyncError, *STUMBLES):
            return None
        return plain if self._staging.fits(place, plain) else None

    def _base(self, arrival: Keep, size: int) -> bytes | None:
        if arrival.base is None or arrival.codec not in NEEDS_BASE:
            return None
        return self._held.gather(arrival.base, size)
