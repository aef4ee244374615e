"""Where the members of a bundle lie and which of their forms it takes, as they are typed."""

from __future__ import annotations

import pytest

from modelsyncd.ctl.verbs.bundle import _members, _only
from modelsyncd.errors import BadInputError, InvalidNameError
from modelsyncd.names import parse_ref


def test_a_member_without_a_place_lies_below_its_models_last_name() -> None:
    found = _members(["acme/little@edge", "large=acme/big:4"])
    assert found == {"large": parse_ref("acme/big:4"), "little": parse_ref("acme/little@edge")}


def test_two_members_of_the_same_place_are_refused() -> None:
    with pytest.raises(BadInputError, match="two members have the place 'little'"):
        _members(["acme/little@edge", "other/little:2"])


def test_the_forms_of_a_member_are_named_by_its_place() -> None:
    members = _members(["acme/little@edge", "large=acme/big:4"])
    assert _only(["large:int8", "large:fp32"], members) == {"large": ["int8", "fp32"]}
    for wrong in ("int8", "tiny:int8"):
        with pytest.raises(BadInputError) as refused:
            _only([wrong], members)
        assert refused.value.hint == "write it as --variant large:NAME"
    with pytest.raises(InvalidNameError):
        _only(["large:Int8"], members)
