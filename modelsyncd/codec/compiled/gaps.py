"""Symbols by kind, zeros counted where they are frequent: the loops of `modelsyncd.codec.coarse`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelsyncd.codec.compiled.jit import compiled, number, read, write

_LONG = 255
_Bytes = NDArray[np.uint8]
_Counts = NDArray[np.int64]


def seen(symbols: _Bytes, kinds: _Bytes, most: int) -> NDArray[np.int64]:
    """How often each symbol comes in each kind up to `most`."""
    found = np.zeros((most + 1) << 8, dtype=np.int64)
    _seen(symbols, kinds, found)
    return found.reshape(-1, 256)


def apart(
    symbols: _Bytes, kinds: _Bytes, sparse: NDArray[np.bool_], counts: _Counts, names: _Counts
) -> tuple[tuple[_Bytes, _Bytes], list[tuple[_Bytes, _Bytes]]]:
    """Symbols of dense kinds, and their names; for each sparse kind its gaps and its other symbols.

    `counts`: how often each symbol comes in each kind.
    """
    room = np.where(sparse, len(symbols) // _LONG + counts[:, 1:].sum(axis=1) + 1, 0)
    starts = np.cumsum(room) - room
    gaps, rare = (np.empty(int(room.sum()), dtype=np.uint8) for _ in range(2))
    dense = np.empty(2 * len(symbols), dtype=np.uint8)
    gap_ends, rare_ends = starts.copy(), starts.copy()
    used = _apart(symbols, kinds, sparse.view(np.uint8), names, gap_ends, rare_ends, gaps, rare, dense)
    found = [
        (gaps[start:gap_end], rare[start:rare_end])
        for start, gap_end, rare_end in zip(
            starts[sparse].tolist(), gap_ends[sparse].tolist(), rare_ends[sparse].tolist(), strict=True
        )
    ]
    return (dense[:used], dense[len(symbols) : len(symbols) + used]), found


def named(kinds: _Bytes, sparse: NDArray[np.bool_], names: _Counts) -> _Bytes:
    """The names of the symbols of dense kinds."""
    found = np.empty(len(kinds), dtype=np.uint8)
    return found[: _named(kinds, sparse.view(np.uint8), names, found)]


def spread(
    kinds: _Bytes, sparse: NDArray[np.bool_], sizes: list[tuple[int, int]], dense: int, decoded: _Bytes
) -> _Bytes | None:
    """The symbols in their order; None when gaps lead elsewhere. `decoded`: so many dense ones, then gaps, others."""
    gaps, rare = (np.zeros(len(sparse) + 1, dtype=np.int64) for _ in range(2))
    gap_ends, rare_ends = gaps.copy(), gaps.copy()
    at = dense
    for kind, (many, others) in zip(np.flatnonzero(sparse).tolist(), sizes, strict=True):
        gaps[kind], gap_ends[kind], rare[kind], rare_ends[kind] = at, at + many, at + many, at + many + others
        if np.count_nonzero(decoded[at : at + many] != _LONG) != others:
            return None
        at += many + others
    symbols = np.zeros(len(kinds), dtype=np.uint8)
    _spread(kinds, sparse.view(np.uint8), gaps, gap_ends, rare, decoded, symbols)
    return symbols if (rare == rare_ends).all() else None


@compiled((number(), (number(), write("int64"), read("int64"), read("uint8"))))
def _next(kind: int, gaps: _Counts, gap_ends: _Counts, decoded: _Bytes) -> int:
    """Zeros before the next other symbol of this kind; -1, which never gets to 0, when there is none."""
    zeros = 0
    while gaps[kind] < gap_ends[kind]:
        gap = np.int64(decoded[gaps[kind]])
        gaps[kind] += 1
        zeros += gap
        if gap != _LONG:
            return zeros
    return -1


@compiled((number("void"), (read("uint8"), read("uint8"), write("int64"))))
def _seen(symbols: _Bytes, kinds: _Bytes, found: _Counts) -> None:
    for i in range(len(symbols)):
        found[(np.int64(kinds[i]) << 8) | symbols[i]] += 1


@compiled(
    (
        number(),
        (*(read("uint8"),) * 3, read("int64"), write("int64"), write("int64"), *(write("uint8"),) * 3),
    )
)
def _apart(
    symbols: _Bytes,
    kinds: _Bytes,
    sparse: _Bytes,
    names: _Counts,
    gap_ends: _Counts,
    rare_ends: _Counts,
    gaps: _Bytes,
    rare: _Bytes,
    dense: _Bytes,
) -> int:
    zeros = np.zeros(len(sparse), dtype=np.int64)
    used, behind = 0, len(symbols)
    for i in range(len(symbols)):
        kind, symbol = kinds[i], symbols[i]
        if not sparse[kind]:
            dense[used] = symbol
            dense[behind + used] = names[kind]
            used += 1
        elif not symbol:
            zeros[kind] += 1
        else:
            left, at = zeros[kind], gap_ends[kind]
            while left >= _LONG:
                gaps[at] = _LONG
                at += 1
                left -= _LONG
            gaps[at] = left
            gap_ends[kind] = at + 1
            rare[rare_ends[kind]] = symbol
            rare_ends[kind] += 1
            zeros[kind] = 0
    return used


@compiled((number(), (read("uint8"), read("uint8"), read("int64"), write("uint8"))))
def _named(kinds: _Bytes, sparse: _Bytes, names: _Counts, found: _Bytes) -> int:
    used = 0
    for i in range(len(kinds)):
        if not sparse[kinds[i]]:
            found[used] = names[kinds[i]]
            used += 1
    return used


@compiled(
    (
        number("void"),
        (read("uint8"), read("uint8"), write("int64"), read("int64"), write("int64"), read("uint8"), write("uint8")),
    )
)
def _spread(
    kinds: _Bytes,
    sparse: _Bytes,
    gaps: _Counts,
    gap_ends: _Counts,
    rare: _Counts,
    decoded: _Bytes,
    symbols: _Bytes,
) -> None:
    left = np.empty(len(sparse), dtype=np.int64)
    for kind in range(len(sparse)):
        left[kind] = _next(np.int64(kind), gaps, gap_ends, decoded)
    used = 0
    for i in range(len(kinds)):
        kind = np.int64(kinds[i])
        if not sparse[kind]:
            symbols[i] = decoded[used]
            used += 1
        elif left[kind]:
            left[kind] -= 1
        else:
            symbols[i] = decoded[rare[kind]]
            rare[kind] += 1
            left[kind] = _next(kind, gaps, gap_ends, decoded)
