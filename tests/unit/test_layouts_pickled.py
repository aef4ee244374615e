"""Pickles of a few bytes that would make much of themselves."""

from __future__ import annotations

import pickle

import pytest

from modelsyncd.formats.header import OddError
from modelsyncd.formats.pickled import views


def test_a_dictionary_that_is_built_onto_itself_again_and_again_is_odd() -> None:
    doubling = b"\x80\x02}q\x00U\x01aK\x01s" + b"h\x00h\x00b0" * 40 + b"."
    with pytest.raises(OddError):
        views(doubling.replace(b"b0", b"b"))


@pytest.mark.parametrize("key", [1 << 20_000, -(1 << 20_000), "k" * 1_000_000], ids=["long", "below zero", "text"])
def test_a_key_that_is_no_name_is_passed_over(key: object) -> None:
    assert views(pickle.dumps({key: {"inner": {}}}, protocol=2)) == []
