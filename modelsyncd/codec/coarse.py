"""Symbols that are mostly 0, each of a kind that both sides know: frequent zeros are counted, not written.

A sparse kind is written as gaps (how many zeros of the kind come before the next other symbol; 255: that many, and no
end yet) and the other symbols; a dense one symbol by symbol. One run of range coding holds it all, with a table for
each dense kind and two for each sparse one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelsyncd.codec import entropy, native
from modelsyncd.codec.sides import Facts
from modelsyncd.errors import DamageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    _Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]

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
    seen = _seen(symbols, kinds)
    others = seen[:, 1:].sum(axis=1)
    sparse = seen[:, 0] >= _SPARSE * others
    if not sparse.any():
        parts.append((symbols, kinds))
        tables = list(seen)
    else:
        names = np.cumsum(np.where(sparse, 2, 1)) - np.where(sparse, 2, 1)
        plain, counted = _sorted(symbols, kinds, sparse, seen, names)
        parts.append(plain)
        tables = []
        for kind, name in enumerate(names.tolist()):
            if not sparse[kind]:
                tables.append(seen[kind])
                continue
            gaps, rare = next(counted)
            for at, part in enumerate((gaps, rare)):
                parts.append((part, np.full(len(part), name + at, dtype=np.uint8)))
                tables.append(np.bincount(part, minlength=entropy.SYMBOLS))
            facts.append(len(gaps).to_bytes(4, "little") + len(rare).to_bytes(4, "little"))
    flags = sparse.astype(np.uint8).tobytes()
    counts = np.stack(tables)
    counts[~counts.any(axis=1), 0] = 1  # a table that nobody uses can be read all the same
    written = entropy.tables(counts)
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


def _seen(symbols: NDArray[np.uint8], kinds: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each symbol comes in each kind."""
    import numpy as np  # noqa: PLC0415

    most = int(kinds.max())
    if native.on():
        from modelsyncd.codec.compiled import gaps as loops  # noqa: PLC0415

        return loops.seen(symbols, kinds, most)
    both = (kinds.astype(np.uint16) << np.uint16(8)) | symbols
    return np.bincount(both, minlength=(most + 1) << 8).reshape(-1, entropy.SYMBOLS)


def _sorted(
    symbols: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    sparse: NDArray[np.bool_],
    seen: NDArray[np.int64],
    names: NDArray[np.int64],
) -> tuple[_Pair, Iterator[_Pair]]:
    """Symbols of dense kinds and their names; for each sparse kind its gaps and its other symbols."""
    import numpy as np  # noqa: PLC0415

    if native.on():
        from modelsyncd.codec.compiled import gaps as loops  # noqa: PLC0415

        plain, counted = loops.apart(symbols, kinds, sparse, seen, names)
        return plain, iter(counted)
    dense = np.flatnonzero(~sparse.take(kinds))
    first = (symbols.take(dense), names.astype(np.uint8).take(kinds.take(dense)))
    return first, (_apart(symbols.take(np.flatnonzero(kinds == kind))) for kind in np.flatnonzero(sparse).tolist())


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
    sizes = [(facts.number(4), facts.number(4)) for _ in range(int(np.count_nonzero(sparse)))]
    if sum(map(sum, sizes)) > 3 * len(kinds):
        raise DamageError("a chunk has more gaps than symbols")
    tables = np.stack([entropy.frequencies(facts.take(facts.number(1) + 1)) for _ in range(int(width.sum()))])
    first = _named(kinds, sparse, names) if sizes else kinds
    parts = [first]
    for name, (gaps, rare) in zip(names[sparse].tolist(), sizes, strict=True):
        parts += [np.full(gaps, name, dtype=np.uint8), np.full(rare, name + 1, dtype=np.uint8)]
    every = np.concatenate(parts)
    if lanes and 1 << lanes > len(every):
        raise DamageError("a chunk has more lanes than symbols")
    state, took = entropy.states(rest, 1 << lanes)
    decoded, filling = entropy.decode(state, words, every, tables)
    symbols = _spread(kinds, sparse, sizes, len(first), decoded) if sizes else decoded
    return symbols, filling + rest[took:]


def _named(kinds: NDArray[np.uint8], sparse: NDArray[np.bool_], names: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The names of the symbols of dense kinds."""
    import numpy as np  # noqa: PLC0415

    if native.on():
        from modelsyncd.codec.compiled import gaps as loops  # noqa: PLC0415

        return loops.named(kinds, sparse, names)
    return names.astype(np.uint8).take(kinds.take(np.flatnonzero(~sparse.take(kinds))))


def _spread(
    kinds: NDArray[np.uint8],
    sparse: NDArray[np.bool_],
    sizes: list[tuple[int, int]],
    dense: int,
    decoded: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """The symbols in their order, out of so many dense ones, and gaps and others behind them."""
    import numpy as np  # noqa: PLC0415

    if native.on():
        from modelsyncd.codec.compiled import gaps as loops  # noqa: PLC0415

        found = loops.spread(kinds, sparse, sizes, dense, decoded)
        if found is None:
            raise DamageError("a chunk's gaps lead elsewhere")
        return found
    symbols = np.zeros(len(kinds), dtype=np.uint8)
    symbols[np.flatnonzero(~sparse.take(kinds))] = decoded[:dense]
    at = dense
    for kind, (gaps, rare) in zip(np.flatnonzero(sparse).tolist(), sizes, strict=True):
        row = np.flatnonzero(kinds == kind)
        symbols[row[_places(decoded[at : at + gaps], rare, len(row))]] = decoded[at + gaps : at + gaps + rare]
        at += gaps + rare
    return symbols


def _places(gaps: NDArray[np.uint8], count: int, most: int) -> NDArray[np.int64]:
    """Where the symbols that are not 0 lie among those of their kind."""
    import numpy as np  # noqa: PLC0415

    ended = gaps != _LONG
    found: NDArray[np.int64] = (np.cumsum(gaps, dtype=np.int64) + np.cumsum(ended) - 1)[ended]
    if len(found) != count or (count and int(found[-1]) >= most):
        raise DamageError("a chunk's gaps lead elsewhere")
    return found
