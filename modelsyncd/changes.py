"""The only place that says which tensors of two manifests belong together, and what became of them. Pure.

Tensors are paired by file and name, then by name alone, then by equal bytes. Whether bytes are equal is known from the
chunks as far as both were cut alike; the rest, which is what lies in one chunk with other tensors, has to be read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import Enum

from modelsyncd.digest import Digest
from modelsyncd.manifest import ChunkTable, Manifest, Tensor


class Kind(Enum):
    """What became of a tensor; the numbers are those on the wire (catalog.proto)."""

    UNCHANGED = 1
    CHANGED = 2
    ADDED = 3
    REMOVED = 4
    RESIZED = 5
    RETYPED = 6
    RENAMED = 7


@dataclass(frozen=True, slots=True)
class Placed:
    """A tensor of file number `file`."""

    file: int
    tensor: Tensor


@dataclass(frozen=True, slots=True)
class Pair:
    """A tensor before and after, `None` where there is none; `by_content` when only its bytes are the same."""

    before: Placed | None
    after: Placed | None
    by_content: bool = False

    @property
    def size(self) -> int:
        """Bytes: as it is, or as it was if it is no more."""
        placed = self.after or self.before
        return placed.tensor.size if placed is not None else 0

    @property
    def kind(self) -> Kind | None:
        """What became of it as far as names, dtypes and shapes say; None when its bytes have to be compared."""
        if self.before is None:
            return Kind.ADDED
        if self.after is None:
            return Kind.REMOVED
        if self.by_content:
            return Kind.RENAMED
        old, new = self.before.tensor, self.after.tensor
        if old.dtype != new.dtype:
            return Kind.RETYPED
        return Kind.RESIZED if (old.shape, old.size) != (new.shape, new.size) else None


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of two tensors of one size, from `offset` in them on. `equal` is None when that takes reading them."""

    offset: int
    size: int
    equal: bool | None


class Side:
    """One of the two manifests."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.table = ChunkTable(manifest)

    def tensors(self) -> Iterator[Placed]:
        """All tensors, file after file."""
        for number, file in enumerate(self.manifest.files):
            for tensor in file.tensors:
                yield Placed(number, tensor)

    def path(self, placed: Placed) -> str:
        """Path of the tensor's file."""
        return self.manifest.files[placed.file].path

    def pieces(self, placed: Placed) -> Iterator[tuple[Digest, int, int, bool]]:
        """The tensor's bytes as (chunk, first byte in it, bytes, whether that is all of the chunk), end to end."""
        position, left = placed.tensor.offset, placed.tensor.size
        ordinal = self.table.at(placed.file, position) if left else 0
        while left:
            chunk = self.table.chunk(ordinal)
            within = position - chunk.offset
            size = min(left, chunk.size - within)
            yield chunk.digest, within, size, size == chunk.size
            position, left, ordinal = position + size, left - size, ordinal + 1


def pairs(before: Side, after: Side) -> list[Pair]:
    """Every tensor of both, those that are still there in their order, then those that are gone."""
    old = list(before.tensors())
    new = list(after.tensors())
    found: dict[int, tuple[int, bool]] = {}
    free = dict.fromkeys(range(len(old)))
    for name, by_content in ((_full_name, False), (_name, False), (_content, True)):
        waiting: defaultdict[Hashable, list[int]] = defaultdict(list)
        for index in reversed(free):
            waiting[name(before, old[index])].append(index)
        for number, placed in enumerate(new):
            if number not in found and waiting and (same := waiting.get(name(after, placed))):
                found[number] = (index := same.pop(), by_content)
                del free[index]
    kept = [
        Pair(old[found[number][0]], placed, found[number][1]) if number in found else Pair(None, placed)
        for number, placed in enumerate(new)
    ]
    return kept + [Pair(old[index], None) for index in free]


def _full_name(side: Side, placed: Placed) -> Hashable:
    return side.path(placed), placed.tensor.name


def _name(_: Side, placed: Placed) -> Hashable:
    return placed.tensor.name


def _content(side: Side, placed: Placed) -> Hashable:
    """What is the same only for tensors whose bytes are; for empty ones, nothing is."""
    tensor = placed.tensor
    if not tensor.size:
        return id(placed)
    return (tensor.dtype, tensor.shape, tuple(piece[:3] for piece in side.pieces(placed)))


def spans(before: Side, old: Placed, after: Side, new: Placed) -> Iterator[Span]:
    """How two tensors of one size compare, from their first byte to their last."""
    left, right = before.pieces(old), after.pieces(new)
    offset = 0
    one = other = (Digest(b""), 0, 0, False)
    while offset < new.tensor.size:
        one = one if one[2] else next(left)
        other = other if other[2] else next(right)
        size = min(one[2], other[2])
        yield Span(offset, size, _equal(one, other))
        offset += size
        one, other = _rest(one, size), _rest(other, size)


def _equal(one: tuple[Digest, int, int, bool], other: tuple[Digest, int, int, bool]) -> bool | None:
    if one[:2] == other[:2]:
        return True
    return False if one[3] and other[3] and one[2] == other[2] else None


def _rest(piece: tuple[Digest, int, int, bool], size: int) -> tuple[Digest, int, int, bool]:
    return piece[0], piece[1] + size, piece[2] - size, False
