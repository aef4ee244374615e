"""Rows that Adam moved once: what their steps save, and payloads of them that were made to hurt."""

from __future__ import annotations

import numpy as np
import pytest

from modelsyncd.codec import graded, patterns, steps
from modelsyncd.codec.hint import Hint
from modelsyncd.errors import DamageError
from tests.fakes.coding_loops import loops  # noqa: F401 - all of these twice

ROWS, COLUMNS = 60, 384
HINT = Hint("f32", 0, COLUMNS)


def table(seed: int = 1, *, decay: bool = True) -> tuple[bytes, bytes]:
    """(base, plain) of a table of words: weight decay in all rows, one step in every third."""
    random = np.random.default_rng(seed)
    old = random.normal(0, 0.05, (ROWS, COLUMNS)).astype("<f4")
    new = old.copy()
    for _ in range(5 * decay):
        new *= np.float32(1 - 2e-7)
    gradient = random.normal(0, 1e-3, (ROWS // 3, COLUMNS))
    height = random.uniform(2e-5, 1e-4, (ROWS // 3, 1))
    new[::3] += (height * gradient / (np.abs(gradient) + 1e-8)).astype("<f4")
    return old.tobytes(), new.tobytes()


BASE, PLAIN = table()
PAYLOAD = graded.compress(PLAIN, BASE, HINT) or b""


@pytest.mark.parametrize("decay", [True, False])
def test_a_row_that_stepped_once_costs_a_third_of_its_difference(decay: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    base, plain = table(decay=decay)
    payload = graded.compress(plain, base, HINT)
    assert payload is not None
    assert payload[0] == graded.MARK + 1
    assert graded.decompress(payload, base, len(plain)) == plain
    monkeypatch.setattr(steps, "can_be", lambda grain: False)
    usual = graded.compress(plain, base, HINT)
    assert usual is not None
    assert len(payload) < 0.4 * len(usual)


def test_numbers_that_are_none_and_signs_that_turn_come_back_as_they_were() -> None:
    new = np.frombuffer(PLAIN, dtype="<f4").copy()
    new[3], new[COLUMNS * 3 + 5], new[COLUMNS * 6 + 1] = np.nan, np.inf, -new[COLUMNS * 6 + 1]
    new[COLUMNS * 9 : COLUMNS * 9 + 4] = [0.0, -0.0, 1e-45, -1e-45]
    payload = graded.compress(new.tobytes(), BASE, HINT)
    assert payload is not None
    assert payload[0] == graded.MARK + 1
    assert graded.decompress(payload, BASE, len(PLAIN)) == new.tobytes()


def test_a_trained_matrix_has_no_steps() -> None:
    random = np.random.default_rng(2)
    old = random.normal(0, 0.05, (ROWS, COLUMNS)).astype("<f4")
    for change in (random.normal(0, 1e-4, old.shape), random.uniform(-1e-4, 1e-4, old.shape)):
        new = (old + change).astype("<f4")
        found = steps.find(old.view("<u4"), new.view("<u4"), np.ones(ROWS, dtype=bool), None, patterns.grain_of(HINT))
        assert not len(found.groups)


def test_a_payload_with_steps_that_was_cut_or_turned_is_damage_or_other_bytes() -> None:
    assert PAYLOAD[0] == graded.MARK + 1
    for end in range(0, len(PAYLOAD), 331):
        with pytest.raises(DamageError):
            graded.decompress(PAYLOAD[:end], BASE, len(PLAIN))
    random = np.random.default_rng(3)
    for _ in range(300):
        garbled = bytearray(PAYLOAD)
        garbled[int(random.integers(len(garbled)))] ^= int(random.integers(1, 256))
        try:
            plain = graded.decompress(bytes(garbled), BASE, len(PLAIN))
        except DamageError:
            continue
        assert len(plain) == len(PLAIN)


@pytest.mark.parametrize("mantissa", [0, 7, 10, 52])
def test_steps_of_another_dtype_are_damage(mantissa: int) -> None:
    garbled = bytearray(PAYLOAD)
    garbled[3] = mantissa
    with pytest.raises(DamageError):
        graded.decompress(bytes(garbled), BASE, len(PLAIN))


@pytest.mark.parametrize("clients", [1, 3, 5, 7])
def test_what_decayed_at_all_clients_costs_hardly_anything_in_their_mean(clients: int) -> None:
    random = np.random.default_rng(clients)
    old = random.normal(0, 0.05, (ROWS, COLUMNS)).astype("<f4")
    sunk = old.copy()
    for _ in range(50):
        sunk *= np.float32(1 - 2e-7)
    total = sunk.copy()
    for _ in range(clients - 1):
        total += sunk
    new = (total / np.float32(clients)).astype("<f4")
    payload = graded.compress(new.tobytes(), old.tobytes(), HINT)
    assert payload is not None
    assert payload[0] == graded.MARK + 2 * (clients > 1)
    assert graded.decompress(payload, old.tobytes(), old.nbytes) == new.tobytes()
    assert len(payload) < 0.025 * old.nbytes
