"""Signed numbers whose usual size both sides know, written in few bytes.

Fine numbers are cut in two: what lies above the shift is a symbol (all of them together are a zstd frame, for its fast
Huffman coder), the rest is noise and sent as it is, with the sign. Coarse numbers are symbols, mostly 0
(coarse.py), and signs. What is too large for a symbol is written out among the facts.
"""

from __future__ import annotations

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
        coarse_facts, words = b"", b""
        frame, rest = zstd.encode(symbols), _low_bits(size, negative, shifts)
    else:
        at, coarse = np.flatnonzero(fine), np.flatnonzero(~fine)
        frame = zstd.encode(symbols.take(at)) if len(at) else b""
        plain = _low_bits(size.take(at), negative.take(at), shifts.take(at))
        mine = symbols.take(coarse)
        signs = negative.take(coarse[np.flatnonzero(mine)])
        plain += np.packbits(signs.astype(np.uint8), bitorder="little").tobytes()
        written = coarse_symbols.write(mine, scale.kinds.take(cells.take(coarse)), plain)
        coarse_facts, words, rest = written.facts, written.words, written.rest
    facts = b"".join(count.to_bytes(4, "little") for count in (len(frame), len(words), len(beyond)))
    return facts + beyond.tobytes() + coarse_facts, frame + words + rest


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

    frame_size, words_size, far = (facts.number(4) for _ in range(3))
    if far > len(cells) or frame_size + words_size > len(body) or words_size % 2:
        raise DamageError("a chunk's numbers are more than its elements")
    beyond = np.frombuffer(facts.take(far * like.itemsize), dtype=like)
    shifts = scale.shifts.take(cells)
    fine = shifts > 0
    frame, words = bytes(body[:frame_size]), bytes(body[frame_size : frame_size + words_size])
    rest = bytes(body[frame_size + words_size :])
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
