"""The hub's last word is read as it was written, or not at all."""

from pathlib import Path

import pytest

from edge_agent.orders import FILE, Orders
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.wire.nouns import decode_desired, encode_desired
from tests.fakes.holdings import desired

WORD = desired(7, (ModelRef(ModelName("acme", "helmet"), channel="stable"), 3))


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    Orders(tmp_path).save(WORD)
    assert Orders(tmp_path).load() == WORD


def test_no_single_turned_bit_makes_it_another_word(tmp_path: Path) -> None:
    Orders(tmp_path).save(WORD)
    path = tmp_path / FILE
    raw = path.read_bytes()
    for at in range(len(raw)):
        for bit in range(8):
            path.write_bytes(bytes([*raw[:at], raw[at] ^ 1 << bit, *raw[at + 1 :]]))
            assert Orders(tmp_path).load() in (None, WORD), f"bit {bit} of byte {at}"


@pytest.mark.parametrize("length", [0, 5, 40])
def test_a_file_that_was_cut_short_is_no_other_word(tmp_path: Path, length: int) -> None:
    Orders(tmp_path).save(WORD)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:length])
    assert Orders(tmp_path).load() in (None, WORD)


def test_a_file_of_an_older_agent_is_read_and_an_older_agent_reads_ours(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(encode_desired(WORD))
    assert Orders(tmp_path).load() == WORD
    Orders(tmp_path).save(WORD)
    assert decode_desired((tmp_path / FILE).read_bytes()) == WORD
