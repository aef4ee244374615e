"""Symbols that are mostly 0, each of a kind that both sides know: frequent zeros are counted, not written.

A sparse kind is written as gaps (how many zeros of the kind come before the next other symbol; 255: that many, and no
end yet) and the other symbols; a dense one symbol by symbol. One run of range coding holds it all, with a table for
each dense kind and two for each sparse one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelsyncd.codec import entropy
from modelsyncd.codec.sides import Facts
from modelsyncd.errors import DamageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KINDS = 64
_SPARSE = 4  # at least that many zeros to each other symbol on average, three of four: else symbol by symbol
_LONG = entropy.SYMBOLS - 1
_LANES = 12  # log2, at most
_STEPS = 7  # log2 of the symbols in a lane when there are many
_LEAST = 7  # log2 of the lanes when there are few symbols: a step costs the same however few lanes take part


@dataclass(frozen=True, slots=True)
class Coarse:
    """Facts; words; states and what was not used up of the filling."""

    facts: bytes
    words: bytes
    rest: bytes


def write(symbols: NDArray[np.uint8], kinds: NDArray[np.uint8], filling: bytes) -> Coarse:
    """At least one symbol; `filling` is bytes that must be sent anyway."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    parts, facts = [], []
    seen = np.bincount((kinds.astype(np.uint16) << np.uint16(8)) | symbols, minlength=(int(kinds.max()) + 1) << 8)
    seen = seen.reshape(-1, entropy.SYMBOLS)
    others = seen[:, 1:].sum(axis=1)
    sparse = seen[:, 0] >= _SPARSE * others
    if not sparse.any():
        parts.append((symbols, kinds))
        tables = list(seen)
    else:
        dense = np.flatnonzero(~sparse.take(kinds))
        names = np.cumsum(np.where(sparse, 2, 1)) - np.where(sparse, 2, 1)
        parts.append((symbols.take(dense), names.astype(np.uint8).take(kinds.take(dense))))
        tables = []
        for kind, name in enumerate(names.tolist()):
            if not sparse[kind]:
                tables.append(seen[kind])
                continue
            gaps, rare = _apart(symbols.take(np.flatnonzero(kinds == kind)))
            for at, part in enumerate((gaps, rare)):
                parts.append((part, np.full(len(part), name + at, dtype=np.uint8)))
                tables.append(np.bincount(part, minlength=entropy.SYMBOLS))
            facts.append(len(gaps).to_bytes(4, "little") + len(rare).to_bytes(4, "little"))
    flags = sparse.astype(np.uint8).tobytes()
    written = [_table(table) for table in tables]
    every = np.concatenate([part for part, _ in parts])
    lanes = _lanes(len(every))
    head = bytes((len(flags), lanes)) + flags + b"".join(facts) + b"".join(written)
    coded = entropy.encode(
        every,
        np.concatenate([name for _, name in parts]),
        np.stack([entropy.frequencies(table[1:]) for table in written]),
        1 << lanes,
        filling[: 2 << lanes].ljust(2 << lanes, b"\0"),
    )
    return Coarse(head, coded.words, coded.states + filling[2 << lanes :])


def _lanes(count: int) -> int:
    size = max(count.bit_length() - 1, 0)
    return min(max(size - _STEPS, min(_LEAST, size - 5), 0), _LANES)


def _table(counts: NDArray[np.int64]) -> bytes:
    if not counts.any():
        counts[0] = 1  # a table that nobody uses can be read all the same
    return entropy.table(counts)


def _apart(symbols: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    import numpy as np  # noqa: PLC0415

    places = np.flatnonzero(symbols)
    gaps = np.diff(places, prepend=-1) - 1
    ends = np.cumsum(gaps // _LONG + 1) - 1
    written = np.full(int(ends[-1]) + 1 if len(ends) else 0, _LONG, dtype=np.uint8)
    written[ends] = gaps % _LONG
    return written, symbols[places]


def read(facts: Facts, words: bytes, rest: bytes, kinds: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bytes]:
    """The symbols and the filling. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    count, lanes = facts.number(1), facts.number(1)
    sparse = np.frombuffer(facts.take(count), dtype=np.uint8) != 0
    if not 0 < count <= KINDS or lanes > _LANES or int(kinds.max()) >= count:
        raise DamageError("a chunk has kinds of symbols that can't be")
    width = sparse + 1
    names = np.cumsum(width) - width
    rows = [np.flatnonzero(kinds == kind) if sparse[kind] else None for kind in range(count)]
    sizes = [(facts.number(4), facts.number(4)) for row in rows if row is not None]
    if sum(map(sum, sizes)) > 3 * len(kinds):
        raise DamageError("a chunk has more gaps than symbols")
    tables = np.stack([entropy.frequencies(facts.take(facts.number(1) + 1)) for _ in range(int(width.sum()))])
    dense = np.flatnonzero(~sparse.take(kinds)) if sparse.any() else None
    first = kinds if dense is None else names.astype(np.uint8).take(kinds.take(dense))
    parts = [first]
    for name, (gaps, rare) in zip(names[sparse].tolist(), sizes, strict=True):
        parts += [np.full(gaps, name, dtype=np.uint8), np.full(rare, name + 1, dtype=np.uint8)]
    every = np.concatenate(parts)
    if lanes and 1 << lanes > len(every):
        raise DamageError("a chunk has more lanes than symbols")
    state, took = entropy.states(rest, 1 << lanes)
    decoded, filling = entropy.decode(state, words, every, tables)
    if dense is None:
        return decoded, filling + rest[took:]
    symbols = np.zeros(len(kinds), dtype=np.uint8)
    at = len(first)
    symbols[dense] = decoded[:at]
    for row, (gaps, rare) in zip((row for row in rows if row is not None), sizes, strict=True):
        symbols[row[_places(decoded[at : at + gaps], rare, len(row))]] = decoded[at + gaps : at + gaps + rare]
        at += gaps + rare
    return symbols, filling + rest[took:]


def _places(gaps: NDArray[np.uint8], count: int, most: int) -> NDArray[np.int64]:
    """Where the symbols that are not 0 lie among those of their kind."""
    import numpy as np  # noqa: PLC0415

    ended = gaps != _LONG
    found: NDArray[np.int64] = (np.cumsum(gaps, dtype=np.int64) + np.cumsum(ended) - 1)[ended]
    if len(found) != count or (count and int(found[-1]) >= most):
        raise DamageError("a chunk's gaps lead elsewhere")
    return found
