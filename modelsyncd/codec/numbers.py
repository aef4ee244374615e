"""Signed numbers whose usual size both sides know, written in few bytes.

Fine numbers are cut in two: what lies above the shift is a symbol (all of them together are a zstd frame, for its fast
Huffman coder), the rest is noise and sent as it is, with the sign. Coarse numbers are symbols, mostly 0
(coarse.py), and signs. What is too large for a symbol is written out among the facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelsyncd.codec import bits, entropy, zstd
from modelsyncd.codec import coarse as coarse_symbols
from modelsyncd.codec.scales import Scales
from modelsyncd.codec.sides import Facts
from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ESCAPE = entropy.SYMBOLS - 1


@dataclass(frozen=True, slots=True)
class Lay:
    """How elements lie in cells: log2 of a group, bits of a mantissa, the lowest exponent told apart, and how many."""

    group: int
    mantissa: int
    low: int
    span: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Symbols of fine numbers; of coarse ones, and their kinds; what was too large; low bits, and signs behind them."""

    fine: NDArray[np.uint8]
    coarse: NDArray[np.uint8]
    kinds: NDArray[np.uint8]
    beyond: NDArray[np.integer]
    plain: bytes


def write(
    size: NDArray[np.integer], negative: NDArray[np.integer], cells: NDArray[np.uint16], scale: Scales
) -> tuple[bytes, bytes]:
    """Facts and the body. `size`: magnitudes; `negative`: 1 where a number is below zero."""
    import numpy as np  # noqa: PLC0415 - an idle agent never loads it

    shifts = scale.shifts.take(cells)
    fine = shifts > 0
    high = size >> shifts.astype(size.dtype)
    symbols = np.minimum(high, ESCAPE).astype(np.uint8)
    beyond = high[symbols == ESCAPE] - size.dtype.type(ESCAPE)
    if fine.all():
        plain = _low_bits(size, negative, shifts)
        return folded(Cut(symbols, symbols[:0], symbols[:0], beyond, plain))
    at, coarse = np.flatnonzero(fine), np.flatnonzero(~fine)
    plain = _low_bits(size.take(at), negative.take(at), shifts.take(at))
    mine = symbols.take(coarse)
    signs = negative.take(coarse[np.flatnonzero(mine)])
    plain += np.packbits(signs.astype(np.uint8), bitorder="little").tobytes()
    return folded(Cut(symbols.take(at), mine, scale.kinds.take(cells.take(coarse)), beyond, plain))


def folded(cut: Cut) -> tuple[bytes, bytes]:
    """Facts and the body of numbers that were cut."""
    frame = zstd.encode(cut.fine.data) if len(cut.fine) else b""
    coarse, words, rest = b"", b"", cut.plain
    if len(cut.coarse):
        written = coarse_symbols.write(cut.coarse, cut.kinds, cut.plain)
        coarse, words, rest = written.facts, written.words, written.rest
    facts = b"".join(count.to_bytes(4, "little") for count in (len(frame), len(words), len(cut.beyond)))
    return facts + cut.beyond.tobytes() + coarse, frame + words + rest


def _low_bits(size: NDArray[np.integer], negative: NDArray[np.integer], shifts: NDArray[np.uint8]) -> bytes:
    """For each number its sign, and above it what was cut off."""
    one = size.dtype.type(1)
    low = size & ((one << shifts.astype(size.dtype)) - one)
    low <<= one
    low |= negative
    return bits.pack(low, shifts + shifts.dtype.type(1))


def read(
    facts: Facts,
    body: Buffer,
    cells: NDArray[np.uint16],
    scale: Scales,
    like: np.dtype[np.integer],
) -> NDArray[np.integer]:
    """The numbers, in the unsigned dtype `like` and modulo its range. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    frame, words, rest, beyond = _parts(facts, body, len(cells), like)
    shifts = scale.shifts.take(cells)
    fine = shifts > 0
    if fine.all():
        symbols = np.frombuffer(zstd.decompress(frame, len(cells)), dtype=np.uint8)
        size = _sized(symbols, beyond)
        return _with_low_bits(size, shifts, rest)
    at, coarse = np.flatnonzero(fine), np.flatnonzero(~fine)
    kinds = scale.kinds.take(cells.take(coarse))
    mine, plain = coarse_symbols.read(facts, words, rest, kinds)
    symbols = np.zeros(len(cells), dtype=np.uint8)
    symbols[coarse] = mine
    if len(at):
        symbols[at] = np.frombuffer(zstd.decompress(frame, len(at)), dtype=np.uint8)
    size = _sized(symbols, beyond)
    if len(at):
        widths = shifts.take(at)
        size[at] = _with_low_bits(size.take(at), widths, plain)
        plain = plain[bits.size(widths + np.uint8(1)) :]
    places = coarse[np.flatnonzero(mine)]
    signs = np.unpackbits(np.frombuffer(plain, dtype=np.uint8), bitorder="little")
    if len(signs) < len(places):
        raise DamageError("a chunk's signs end early")
    below = places[np.flatnonzero(signs[: len(places)])]
    size[below] = -size[below]
    return size


def read_compiled(
    facts: Facts, body: Buffer, old: NDArray[np.integer], classes: NDArray[np.uint8], *, lay: Lay, scale: Scales
) -> NDArray[np.integer]:
    """As `read`, by compiled loops: the numbers of all elements, 0 in groups whose class is 0. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    from modelsyncd.codec.compiled import cells  # noqa: PLC0415

    fines, wide, kinds = cells.places(old, classes, lay, scale.shifts, scale.kinds)
    frame, words, plain, beyond = _parts(facts, body, fines + len(kinds), old.dtype)
    coarse = kinds
    if len(kinds):
        coarse, plain = coarse_symbols.read(facts, words, plain, kinds)
    fine = np.frombuffer(zstd.decompress(frame, fines) if fines else b"", dtype=np.uint8)
    after = (wide + 7) // 8
    if len(plain) < after:
        raise DamageError("a chunk's low bits end early")
    change, far, signed = cells.join(old, classes, lay, scale.shifts, fine, coarse, beyond, plain, after)
    if far != len(beyond):
        raise DamageError("a chunk's large changes are not as many as they should be")
    if signed > 8 * (len(plain) - after):
        raise DamageError("a chunk's signs end early")
    return change


def _parts(
    facts: Facts, body: Buffer, count: int, like: np.dtype[np.integer]
) -> tuple[bytes, bytes, bytes, NDArray[np.integer]]:
    """Frame, words, what lies behind them, and what was too large for a symbol."""
    import numpy as np  # noqa: PLC0415

    frame_size, words_size, far = (facts.number(4) for _ in range(3))
    if far > count or frame_size + words_size > len(body) or words_size % 2:
        raise DamageError("a chunk's numbers are more than its elements")
    beyond = np.frombuffer(facts.take(far * like.itemsize), dtype=like)
    behind = frame_size + words_size
    return bytes(body[:frame_size]), bytes(body[frame_size:behind]), bytes(body[behind:]), beyond


def _sized(symbols: NDArray[np.uint8], beyond: NDArray[np.integer]) -> NDArray[np.integer]:
    """Magnitudes above the shift, as numbers of the dtype of `beyond`."""
    size = symbols.astype(beyond.dtype)
    far = (symbols == ESCAPE).nonzero()[0]
    if len(far) != len(beyond):
        raise DamageError("a chunk's large changes are not as many as they should be")
    size[far] += beyond
    return size


def _with_low_bits(size: NDArray[np.integer], shifts: NDArray[np.uint8], row: bytes) -> NDArray[np.integer]:
    """The numbers, with what was cut off and with their signs."""
    one = size.dtype.type(1)
    low = bits.unpack(row, shifts + shifts.dtype.type(1)).astype(size.dtype, copy=False)
    size <<= shifts.astype(size.dtype)
    size |= low >> one
    low = -(low & one)
    size ^= low
    size -= low
    return size
