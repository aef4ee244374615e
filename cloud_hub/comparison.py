"""The only place that compares two releases tensor by tensor: by their chunks, and by reading what those do not tell.

It goes in small steps, each in its turn with the transfers that are under way; one block of each side is in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from cloud_hub.contents import Content
from cloud_hub.norms import BITS, Change, Norm
from modelsyncd.changes import Kind, Pair, Placed, Side, Span, pairs, spans
from modelsyncd.digest import Buffer

BLOCK = 1 << 20  # bytes of the wider side that are read at once: several times that in float64
STEP_BYTES = 32 << 20  # bytes that are read in one hop to a thread …
STEP_TENSORS = 256  # … and tensors that are done in it, at most


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of a tensor, and by how much it changed where that was asked for and has a meaning."""

    pair: Pair
    kind: Kind
    norm: Norm | None = None


class Comparison:
    """One comparison. `run` yields what each step found; how far it has come stands in its fields."""

    def __init__(self, before: Content, after: Content, turns: asyncio.Semaphore, *, norms: bool) -> None:
        self._contents = before, after
        self._turns = turns
        self._norms = norms
        self.before, self.after = Side(before.manifest), Side(after.manifest)
        self.size = 0
        """Plain bytes of tensors that are done."""
        self.total = 0
        """Plain bytes of all tensors."""
        self._unrested = 0

    async def run(self) -> AsyncIterator[Sequence[Compared]]:
        """All tensors, each once. Raises DamageError, DiskError, RoadError."""
        found = await asyncio.to_thread(pairs, self.before, self.after)
        self.total = sum(pair.size for pair in found)
        work = self._work(found)
        while True:
            async with self._turns:
                step = await asyncio.to_thread(next, work, None)
            if step is None:
                return
            yield step

    def _work(self, found: Sequence[Pair]) -> Generator[list[Compared], None, None]:
        """Yields now and then between two blocks, so that nobody waits long for a turn."""
        done: list[Compared] = []
        for pair in found:
            kind = pair.kind or (yield from self._judged(pair))
            change = _change(pair) if self._norms and kind in (Kind.CHANGED, Kind.RETYPED) else None
            if change is None:
                self.size += pair.size
            else:
                for old, new in self._blocks(pair, change):
                    change.add(old, new)
                    self.size += len(new)
                    if self._rest(len(old) + len(new)):
                        yield done
                        done = []
            done.append(Compared(pair, kind, change.result() if change is not None else None))
            if len(done) >= STEP_TENSORS:
                yield done
                done = []
        if done:
            yield done

    def _judged(self, pair: Pair) -> Generator[list[Compared], None, Kind]:
        """Whether the bytes of a tensor are the same; reads only where the chunks do not say."""
        old, new = _both(pair)
        unsure: list[Span] = []
        for span in spans(self.before, old, self.after, new):
            if span.equal is False:
                return Kind.CHANGED
            if span.equal is None:
                unsure.append(span)
        for span in unsure:
            for offset in range(span.offset, span.offset + span.size, BLOCK):
                size = min(BLOCK, span.offset + span.size - offset)
                if self._read(0, old, offset, size) != self._read(1, new, offset, size):
                    return Kind.CHANGED
                if self._rest(2 * size):
                    yield []
        return Kind.UNCHANGED

    def _blocks(self, pair: Pair, change: Change) -> Iterator[tuple[Buffer, Buffer]]:
        """The same elements of both sides, from the first to the last."""
        old, new = _both(pair)
        step = BLOCK * 8 // max(change.bits) // 2 * 2  # even: two elements of 4 bits share a byte
        counts = (step * change.bits[0] // 8, step * change.bits[1] // 8)
        for number in range(-(-new.tensor.size // counts[1])):
            yield (
                self._read(0, old, number * counts[0], min(counts[0], old.tensor.size - number * counts[0])),
                self._read(1, new, number * counts[1], min(counts[1], new.tensor.size - number * counts[1])),
            )

    def _read(self, side: int, placed: Placed, offset: int, size: int) -> Buffer:
        return self._contents[side].read(placed.file, placed.tensor.offset + offset, size)

    def _rest(self, count: int) -> bool:
        """Takes note that so many bytes were read; whether it is somebody else's turn."""
        self._unrested += count
        if self._unrested < STEP_BYTES:
            return False
        self._unrested = 0
        return True


def _both(pair: Pair) -> tuple[Placed, Placed]:
    if pair.before is None or pair.after is None:
        raise ValueError("a tensor that is only on one side has nothing to be compared with")
    return pair.before, pair.after


def _change(pair: Pair) -> Change | None:
    """How the change of a tensor is summed up; None when its elements are no numbers, or are not as many."""
    old, new = (placed.tensor for placed in _both(pair))
    if old.shape != new.shape or not new.size or not old.size or not {old.dtype, new.dtype} <= BITS.keys():
        return None
    count = prod(new.shape)
    fits = all((count * BITS[tensor.dtype] + 7) // 8 == tensor.size for tensor in (old, new))
    return Change(old.dtype, new.dtype) if fits else None
