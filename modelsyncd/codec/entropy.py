"""Symbols written in as many bits as they are surprising: range coding (rANS) in lanes, a table for each kind of place.

Every symbol has a table that both sides know before they come to it. Lane i codes the symbols i, i + lanes, … on its
own state, so numpy steps all lanes at once. A state starts out holding 16 bits of something that must be sent anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from modelsyncd.codec import bits, native
from modelsyncd.errors import DamageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SYMBOLS = 256
PRECISION = 12  # bits: frequencies of a table sum up to 4,096
_SCALE = 1 << PRECISION
_FEW = 2_000
_FLOOR = 1 << 16  # a state is in [2^16, 2^32); below, it takes in a word of 16 bits
_WEIGHTS = [0, *(round(16 * 2 ** (step / 4)) for step in range(96))]
"""What a byte of a table says: how often, in steps of a quarter octave."""


@dataclass(frozen=True, slots=True)
class Coded:
    """States (each 16 to 31 bits under its highest bit, widths first), and the words that they let go."""

    states: bytes
    words: bytes


def tables(counts: NDArray[np.int64]) -> list[bytes]:
    """How often each symbol came (a row for each table), as bytes to send: the last symbol, then a weight for each."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    step = np.where(counts.sum(axis=1) < _FEW, 2, 1)[:, None]  # a coarse table is shorter, which few symbols pay for
    codes = np.where(counts > 0, step * np.rint(4 / step * np.log2(np.maximum(counts, 1))) + 1, 0).astype(np.uint8)
    last = counts.shape[1] - 1 - np.argmax(counts[:, ::-1] > 0, axis=1)
    return [bytes((end,)) + row[: end + 1].tobytes() for row, end in zip(codes, last.tolist(), strict=True)]


@cache
def _weights() -> NDArray[np.int64]:
    import numpy as np  # noqa: PLC0415

    return np.array(_WEIGHTS, dtype=np.int64)


def frequencies(weights: bytes) -> NDArray[np.uint32]:
    """256 frequencies out of a table's weights. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    codes = np.frombuffer(weights, dtype=np.uint8)
    if native.on():
        from modelsyncd.codec.compiled import lanes as loops  # noqa: PLC0415

        frequency = loops.frequencies(codes, _weights())
        if frequency is None:
            raise DamageError("a chunk's table can't be")
        return frequency
    if not codes.any() or codes.max() >= len(_WEIGHTS):
        raise DamageError("a chunk's table can't be")
    amounts = _weights().take(codes)
    present = amounts > 0
    free = _SCALE - int(present.sum())
    found = np.zeros(SYMBOLS, dtype=np.uint32)
    found[: len(codes)] = present + amounts * free // int(amounts.sum())
    found[int(found.argmax())] += _SCALE - int(found.sum())
    return found


def encode(
    symbols: NDArray[np.uint8], kinds: NDArray[np.uint8], tables: NDArray[np.uint32], lanes: int, filling: bytes
) -> Coded:
    """`kinds[i]` is the row of `tables` for symbol i; `filling` (2 bytes for each lane) comes back from `decode`."""
    import numpy as np  # noqa: PLC0415

    state = np.frombuffer(filling, dtype="<u2").astype(np.uint32) | np.uint32(_FLOOR)
    if native.on():
        from modelsyncd.codec.compiled import lanes as loops  # noqa: PLC0415

        words = loops.encode(symbols, kinds, tables, state)
    else:
        words = _encode(symbols, kinds, tables, state)
    widths = (np.frexp(state.astype(np.float64))[1] - 17).astype(np.uint8)  # 0 to 15 bits more than the least
    top = np.uint64(_FLOOR) << widths.astype(np.uint64)
    return Coded(
        bits.pack(widths.astype(np.uint64), np.full(lanes, 4, dtype=np.uint8))
        + bits.pack(state.astype(np.uint64) ^ top, widths + np.uint8(16)),
        words,
    )


def _encode(
    symbols: NDArray[np.uint8], kinds: NDArray[np.uint8], tables: NDArray[np.uint32], state: NDArray[np.uint32]
) -> bytes:
    """The words that the lanes let go; `state` becomes what they end with."""
    import numpy as np  # noqa: PLC0415

    lanes = len(state)
    starts = np.zeros_like(tables)
    starts[:, 1:] = np.cumsum(tables[:, :-1], axis=1)
    place = (kinds.astype(np.uint32) << np.uint32(8)) | symbols
    often = tables.ravel().take(place)
    start = starts.ravel().take(place)
    words: list[NDArray[np.uint16]] = []
    for at in range((len(symbols) - 1) // lanes * lanes, -1, -lanes):
        frequency = often[at : at + lanes]
        lane = state[: len(frequency)]
        full = np.flatnonzero((lane >> np.uint32(32 - PRECISION)) >= frequency)
        let_go = lane[full]
        words.append(let_go.astype("<u2"))
        lane[full] = let_go >> np.uint32(16)
        whole = lane // frequency
        lane -= whole * frequency
        lane += whole << np.uint32(PRECISION)
        lane += start[at : at + lanes]
    words.reverse()
    return b"".join(word.tobytes() for word in words)


def states(row: bytes, lanes: int) -> tuple[NDArray[np.uint32], int]:
    """The lanes' states at the head of `row`, and how many bytes they took. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    at = (lanes + 1) // 2
    widths = bits.unpack(row[:at], np.full(lanes, 4, dtype=np.uint8))
    low = (widths + np.uint64(16)).astype(np.uint8)
    took = at + bits.size(low)
    state = bits.unpack(row[at:took], low) | (np.uint64(_FLOOR) << widths)
    return state.astype(np.uint32), took


def decode(
    state: NDArray[np.uint32], words: bytes, kinds: NDArray[np.uint8], tables: NDArray[np.uint32]
) -> tuple[NDArray[np.uint8], bytes]:
    """The symbols and the filling. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    if native.on():
        from modelsyncd.codec.compiled import lanes as loops  # noqa: PLC0415

        symbols, taken = loops.decode(state, np.frombuffer(words, dtype="<u2"), kinds, tables)
    else:
        symbols, taken = _decode(state, np.frombuffer(words, dtype="<u2").astype(np.uint32), kinds, tables)
    if 2 * taken > len(words):
        raise DamageError("a chunk's coded symbols end early")
    if 2 * taken != len(words) or (state >> np.uint32(16) != 1).any():
        raise DamageError("a chunk's coded symbols don't end where they should")
    return symbols, state.astype("<u2").tobytes()


def _decode(
    state: NDArray[np.uint32], supply: NDArray[np.uint32], kinds: NDArray[np.uint8], tables: NDArray[np.uint32]
) -> tuple[NDArray[np.uint8], int]:
    """The symbols, and how many words they took: more than there are, if these end early."""
    import numpy as np  # noqa: PLC0415

    symbol_at, step_at = _expanded(tables)
    lanes, taken = len(state), 0
    slots = kinds.astype(np.uint32) << np.uint32(PRECISION)
    for at in range(0, len(kinds), lanes):
        slot = slots[at : at + lanes]
        lane = state[: len(slot)]
        slot |= lane & np.uint32(_SCALE - 1)
        step = step_at.take(slot)
        lane >>= np.uint32(PRECISION)
        lane *= step >> np.uint32(16)
        step &= np.uint32(0xFFFF)
        lane += step
        empty = np.flatnonzero(lane < _FLOOR)
        upto = taken + len(empty)
        if upto > len(supply):
            return symbol_at[:0], upto
        lane[empty] = (lane[empty] << np.uint32(16)) | supply[taken:upto]
        taken = upto
    return symbol_at.take(slots), taken


def _expanded(tables: NDArray[np.uint32]) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """For each of a table's 4,096 slots its symbol, and its frequency << 16 | how far it lies in the symbol."""
    import numpy as np  # noqa: PLC0415

    frequency = tables.ravel()
    place = np.repeat(np.arange(len(frequency), dtype=np.uint32), frequency)
    start = (np.cumsum(frequency, dtype=np.uint32) - frequency).take(place)
    step = (frequency.take(place) << np.uint32(16)) | (np.arange(len(place), dtype=np.uint32) - start)
    return place.astype(np.uint8), step
