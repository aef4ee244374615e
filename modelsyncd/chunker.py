"""The only place that says where a file is cut: at tensor borders where they are known, by content where they are not.

Law: where the cuts fall depends on the bytes, the layout and the parameters, and on nothing else. So the same bytes cut
the same way on every machine, however they were read, and what did not change between two versions has the same chunks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

from modelsyncd.digest import Buffer
from modelsyncd.errors import BadInputError
from modelsyncd.manifest import Chunking, Tensor

TENSORS_2 = "tensors-2/fastcdc-2020"
"""Every format's tensors, small gaps joined with small tensors, large gaps by content. What is published now."""
TENSORS_1 = "fastcdc-2020"
"""safetensors alone, and every gap by itself. What was published at first; files are still compared by it."""
_JOINT = 64  # a gap of this part of a step, or less, may share a chunk with small tensors


class Stretch(NamedTuple):
    """A run of a file, `size` bytes: one chunk, or if `by_content` as many as the content asks for."""

    size: int
    by_content: bool = False


class Cutter(Protocol):
    """Cuts one file that is fed to it from its start to its end, in pieces of any size."""

    def feed(self, piece: Buffer) -> list[memoryview]:
        """The chunks that are whole by now, in order. They may lie in `piece`: use them before it is used again."""

    def finish(self) -> list[memoryview]:
        """The chunks that were held back until the end was sure."""


def grid(size: int, tensors: Sequence[Tensor], chunking: Chunking) -> list[Stretch]:
    """The stretches of a file of `size` bytes with this layout, in order.

    A tensor of at least one step is cut in steps from its own start, so it cuts the same way wherever it lies, and
    shares a chunk with nothing. Smaller neighbours share a chunk of one step at most, with the small gaps between them:
    each gap goes with the tensor after it, or after the last small one with that. What lies before the first tensor and
    after the last shares a chunk with none: it changes when no weight does. Without tensors this is one run of steps.
    """
    check(chunking)
    grid_of = _Grid(chunking)
    position = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size)):
        start = max(tensor.offset, position)
        end = min(tensor.offset + tensor.size, size)
        if start >= end:  # a byte in two tensors is the first's
            continue
        if start > position:
            grid_of.gap(start - position, end - start, at_start=position == 0)
        grid_of.tensor(end - start)
        position = end
    if not position:
        grid_of.steps(size)
    elif position < size:
        grid_of.alone(size - position)
    return grid_of.finish()


class _Grid:
    """The stretches so far, and the bytes of small neighbours that still wait for others."""

    def __init__(self, chunking: Chunking) -> None:
        self._step = chunking.step
        self._joint = chunking.step // _JOINT if chunking.algorithm == TENSORS_2 else 0
        self._gaps_by_content = chunking.algorithm == TENSORS_2
        self._stretches: list[Stretch] = []
        self._joined = 0

    def tensor(self, length: int) -> None:
        """The next tensor."""
        if length >= self._step:
            self.steps(length)
        else:
            self._join(length)

    def gap(self, length: int, following: int, *, at_start: bool) -> None:
        """The next bytes between tensors; `following` are the bytes of the tensor after them."""
        if at_start or length > self._joint:
            self.alone(length)
        elif length + following < self._step:
            self._join_whole(length, following)
        elif self._joined and self._joined + length <= self._step:
            self._joined += length
        else:
            self.alone(length)

    def _join_whole(self, length: int, following: int) -> None:
        """A gap that stays with the small tensor after it."""
        if self._joined + length + following > self._step:
            self._close()
        self._joined += length

    def _join(self, length: int) -> None:
        if self._joined + length > self._step:
            self._close()
        self._joined += length

    def _close(self) -> None:
        if self._joined:
            self._stretches.append(Stretch(self._joined))
            self._joined = 0

    def steps(self, length: int) -> None:
        """A run that is cut in steps from its own start."""
        self._close()
        steps, rest = divmod(length, self._step)
        self._stretches.extend([Stretch(self._step)] * steps)
        self._stretches.extend([Stretch(rest)] if rest else [])

    def alone(self, length: int) -> None:
        """Bytes that belong to no tensor and share a chunk with none."""
        if length <= self._step or not self._gaps_by_content:
            self.steps(length)
            return
        self._close()
        self._stretches.append(Stretch(length, by_content=True))

    def finish(self) -> list[Stretch]:
        """All stretches."""
        self._close()
        return self._stretches


def cutter(size: int, tensors: Sequence[Tensor], chunking: Chunking) -> Cutter:
    """What cuts a file of `size` bytes with this layout. Raises BadInputError for parameters that can't be."""
    if tensors:
        return _along(grid(size, tensors, chunking), chunking)
    if size <= check(chunking).step:
        return GridCutter([size] if size else [])
    return ContentCutter(chunking)


def _along(stretches: Iterable[Stretch], chunking: Chunking) -> Cutter:
    """One cutter for each run of stretches that are cut in the same way."""
    sections: list[tuple[int, Cutter]] = []
    for by_content, run in groupby(stretches, key=lambda stretch: stretch.by_content):
        sizes = [stretch.size for stretch in run]
        sections.append((sum(sizes), ContentCutter(chunking) if by_content else GridCutter(sizes)))
    return sections[0][1] if len(sections) == 1 else SectionCutter(sections)


def check(chunking: Chunking) -> Chunking:
    """Returns the parameters if files can be cut with them. Raises BadInputError."""
    if chunking.algorithm not in (TENSORS_1, TENSORS_2):
        raise BadInputError(f"files can't be cut by {chunking.algorithm[:80]!r}", hint=f"use {TENSORS_2}")
    if chunking.step < 1 or not 64 <= chunking.smallest <= chunking.average <= chunking.largest:
        raise BadInputError("files are cut in steps of 1 byte at least, and 64 <= smallest <= average <= largest")
    # The bounds of pyfastcdc 0.3, said in our words.
    if (
        chunking.smallest > 1 << 20
        or not 256 <= chunking.average <= 4 << 20
        or not 1024 <= chunking.largest <= 16 << 20
    ):
        raise BadInputError("chunks are cut around 256 bytes to 4 MiB, and not above 16 MiB")
    return chunking


class GridCutter:
    """Cuts at places that are known before: the sizes that `grid` gave."""

    def __init__(self, sizes: Iterable[int]) -> None:
        self._sizes = deque(sizes)
        self._held = b""

    def feed(self, piece: Buffer) -> list[memoryview]:
        """The chunks that are whole by now. Bytes beyond the last size are in none."""
        chunks: list[memoryview] = []
        view = memoryview(piece)
        while self._sizes and len(self._held) + len(view) >= self._sizes[0]:
            wanted = self._sizes.popleft() - len(self._held)
            chunks.append(memoryview(self._held + view[:wanted]) if self._held else view[:wanted])
            self._held = b""
            view = view[wanted:]
        self._held += view
        return chunks

    def finish(self) -> list[memoryview]:
        """Nothing: every chunk came out of `feed`."""
        return []


class SectionCutter:
    """Hands each section of a file, (bytes, cutter), to its own cutter."""

    def __init__(self, sections: Iterable[tuple[int, Cutter]]) -> None:
        self._sections = deque(sections)
        self._left = self._sections[0][0] if self._sections else 0

    def feed(self, piece: Buffer) -> list[memoryview]:
        """The chunks that are whole by now. Bytes beyond the last section are in none."""
        chunks: list[memoryview] = []
        view = memoryview(piece)
        while self._sections and view:
            part, view = view[: self._left], view[self._left :]
            section = self._sections[0][1]
            chunks.extend(section.feed(part))
            self._left -= len(part)
            if not self._left:
                chunks.extend(section.finish())
                self._sections.popleft()
                self._left = self._sections[0][0] if self._sections else 0
        return chunks

    def finish(self) -> list[memoryview]:
        """Nothing: every section was finished at its end."""
        return []


class ContentCutter:
    """Cuts where the content says so (FastCDC 2020), so an insertion moves the cuts around it and no others."""

    def __init__(self, chunking: Chunking) -> None:
        """Raises BadInputError for parameters that can't be."""
        # Here, because most processes never cut anything.
        from pyfastcdc import FastCDC  # noqa: PLC0415

        check(chunking)
        self._largest = chunking.largest
        self._fastcdc = FastCDC(chunking.average, min_size=chunking.smallest, max_size=chunking.largest)
        self._held: list[Buffer] = []
        self._length = 0

    def feed(self, piece: Buffer) -> list[memoryview]:
        """The chunks that are whole by now. Held back is what is shorter than the largest chunk: more may follow."""
        self._length += len(piece)
        if self._length < self._largest:
            self._held.append(bytes(piece))
            return []
        self._held.append(piece)
        return self._cut(self._largest)

    def finish(self) -> list[memoryview]:
        """The chunks of the rest."""
        return self._cut(1)

    def _cut(self, least: int) -> list[memoryview]:
        """Cuts while at least so many bytes are left, and holds the rest."""
        data = b"".join(self._held)
        cuts = self._fastcdc.cut_buf(data)
        chunks: list[memoryview] = []
        start = 0
        while len(data) - start >= least:
            length = next(cuts).length
            chunks.append(memoryview(data)[start : start + length])
            start += length
        self._held = [data[start:]]
        self._length = len(data) - start
        return chunks
