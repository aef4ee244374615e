"""Range coding, one lane after the other: the loops of `modelsyncd.codec.entropy`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelsyncd.codec.compiled.jit import compiled, number, read, write

_EXACT = 2.0**-14  # more than a rounded product errs by, and less than what a quotient can lie below the next integer


def encode(
    symbols: NDArray[np.uint8], kinds: NDArray[np.uint8], tables: NDArray[np.uint32], state: NDArray[np.uint32]
) -> bytes:
    """The words that the lanes let go; `state` becomes what they end with."""
    starts = np.zeros_like(tables)
    starts[:, 1:] = np.cumsum(tables[:, :-1], axis=1)
    words = np.empty(len(symbols), dtype=np.uint16)
    first = _encode(symbols, kinds, tables.ravel(), starts.ravel(), state, words)
    return words[first:].tobytes()


def decode(
    state: NDArray[np.uint32], words: NDArray[np.uint16], kinds: NDArray[np.uint8], tables: NDArray[np.uint32]
) -> tuple[NDArray[np.uint8], int]:
    """The symbols, and how many words they took: more than there are, if these end early.

    Every kind is a row of `tables`; the caller checks what remains in `state`.
    """
    size = tables.shape[0] << 12
    symbol, step = np.empty(size, dtype=np.uint8), np.empty(size, dtype=np.uint32)
    _expand(tables.ravel(), symbol, step)
    found = np.zeros(len(kinds), dtype=np.uint8)
    return found, _decode(state, words, kinds, symbol, step, found)


def frequencies(codes: NDArray[np.uint8], weights: NDArray[np.int64]) -> NDArray[np.uint32] | None:
    """256 frequencies, None when these codes name none."""
    found = np.zeros(256, dtype=np.uint32)
    return found if _frequencies(codes, weights, found) else None


@compiled((number(), (read("uint8"), read("int64"), write("uint32"))))
def _frequencies(codes: NDArray[np.uint8], weights: NDArray[np.int64], found: NDArray[np.uint32]) -> int:
    total, present = 0, 0
    for i in range(len(codes)):
        if codes[i] >= len(weights):
            return 0
        total += weights[codes[i]]
        present += weights[codes[i]] > 0
    if not total:
        return 0
    given, most = 0, 0
    for i in range(len(codes)):
        amount = weights[codes[i]]
        if amount:
            found[i] = 1 + amount * (4096 - present) // total
        given += np.int64(found[i])
        if found[i] > found[most]:
            most = i
    found[most] += np.uint32(4096 - given)
    return 1


@compiled(
    (
        number(),
        (read("uint8"), read("uint8"), read("uint32"), read("uint32"), write("uint32"), write("uint16")),
    )
)
def _encode(
    symbols: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    often: NDArray[np.uint32],
    starts: NDArray[np.uint32],
    state: NDArray[np.uint32],
    words: NDArray[np.uint16],
) -> int:
    inverse = np.empty(len(often), dtype=np.float64)
    for place in range(len(often)):
        inverse[place] = 1.0 / max(often[place], np.uint32(1))
    lanes = len(state)
    top = len(words)
    for at in range((len(symbols) - 1) // lanes * lanes, -1, -lanes):
        for lane in range(min(lanes, len(symbols) - at) - 1, -1, -1):
            place = (np.int64(kinds[at + lane]) << 8) | symbols[at + lane]
            frequency, held = np.int64(often[place]), np.int64(state[lane])
            if held >> 20 >= frequency:
                top -= 1
                words[top] = held & 0xFFFF
                held >>= 16
            whole = np.int64(held * inverse[place] + _EXACT)
            state[lane] = held + whole * (4096 - frequency) + np.int64(starts[place])
    return top


@compiled((number("void"), (read("uint32"), write("uint8"), write("uint32"))))
def _expand(tables: NDArray[np.uint32], symbol: NDArray[np.uint8], step: NDArray[np.uint32]) -> None:
    at = 0
    for place in range(len(tables)):
        frequency = np.int64(tables[place])
        for inside in range(frequency):
            symbol[at] = place & 0xFF
            step[at] = (frequency << 16) | inside
            at += 1


@compiled(
    (
        number(),
        (write("uint32"), read("uint16"), read("uint8"), read("uint8"), read("uint32"), write("uint8")),
    )
)
def _decode(
    state: NDArray[np.uint32],
    words: NDArray[np.uint16],
    kinds: NDArray[np.uint8],
    symbol: NDArray[np.uint8],
    step: NDArray[np.uint32],
    found: NDArray[np.uint8],
) -> int:
    lanes, taken, supply = len(state), 0, len(words)
    for at in range(0, len(kinds), lanes):
        for lane in range(min(lanes, len(kinds) - at)):
            held = state[lane]
            slot = (np.int64(kinds[at + lane]) << 12) | np.int64(held & np.uint32(4095))
            here = step[slot]
            found[at + lane] = symbol[slot]
            held = np.uint32(
                np.uint32(here >> np.uint32(16)) * np.uint32(held >> np.uint32(12)) + (here & np.uint32(0xFFFF))
            )
            if held < np.uint32(65536):
                if taken >= supply:
                    return supply + 1
                held = np.uint32((held << np.uint32(16)) | words[taken])
                taken += 1
            state[lane] = held
    return taken
