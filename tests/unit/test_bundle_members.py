"""Where the members of a bundle lie, as they are typed."""

from __future__ import annotations

import pytest

from modelsyncd.ctl.verbs.bundle import _members
from modelsyncd.errors import BadInputError
from modelsyncd.names import parse_ref


def test_a_member_without_a_place_lies_below_its_models_last_name() -> None:
    found = _members(["acme/little@edge", "large=acme/big:4"])
    assert found == {"large": parse_ref("acme/big:4"), "little": parse_ref("acme/little@edge")}


def test_two_members_of_the_same_place_are_refused() -> None:
    with pytest.raises(BadInputError, match="two members have the place 'little'"):
        _members(["acme/little@edge", "other/little:2"])
