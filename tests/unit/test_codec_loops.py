"""Corners of the coder's loops that chance does not find."""

from __future__ import annotations

import numpy as np
import pytest

from modelsyncd.codec import coarse, entropy, sides
from modelsyncd.errors import DamageError
from tests.fakes.coding_loops import loops  # noqa: F401 - all of these twice


def test_a_state_that_a_frequency_divides_comes_back() -> None:
    """A quotient that is computed by multiplying must not end up below the integer that it is."""
    for first in range(1, 4096, 128):
        often = np.arange(first, min(first + 128, 4096))
        tables = np.zeros((len(often), entropy.SYMBOLS), dtype=np.uint32)
        tables[:, 0], tables[:, 1] = often, 4096 - often
        for about in (65_536, 98_304, 126_975):
            start = (about + often - 1) // often * often
            filling = (start - 65_536).astype("<u2").tobytes()
            kinds = np.arange(len(often), dtype=np.uint8)
            symbols = np.zeros(len(often), dtype=np.uint8)
            coded = entropy.encode(symbols, kinds, tables, len(often), filling)
            state, _ = entropy.states(coded.states, len(often))
            found, filled = entropy.decode(state, coded.words, kinds, tables)
            assert filled == filling
            assert (found == 0).all()


@pytest.mark.parametrize("short", [1, 2, 700])
def test_gaps_that_lead_beyond_the_last_symbol_are_damage(short: int) -> None:
    symbols = np.zeros(2_000, dtype=np.uint8)
    symbols[::300], symbols[-1] = 3, 5
    kinds = np.zeros(2_000, dtype=np.uint8)
    written = coarse.write(symbols, kinds, bytes(9_000))
    facts = sides.fold(written.facts)
    found, _ = coarse.read(sides.Facts(facts, 0, 10_000), written.words, written.rest, kinds)
    assert (found == symbols).all()
    with pytest.raises(DamageError, match="gaps"):
        coarse.read(sides.Facts(facts, 0, 10_000), written.words, written.rest, kinds[:-short])
