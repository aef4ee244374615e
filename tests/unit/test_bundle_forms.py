"""In which forms a bundle comes: as few as are ever chosen, with names that say what they are made of."""

from __future__ import annotations

import pytest

from modelsyncd.bundle_forms import MOST, BundleForm, bundle_forms
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, LimitError
from modelsyncd.release import ManifestRef, Variant

SMALL, LARGE = {"memory": "<4GiB"}, {"memory": ">=4GiB"}


def form(name: str, selector: dict[str, str] | None = None) -> Variant:
    """A form of some member."""
    return Variant(name, ManifestRef(digest_of(name.encode()), 10, 10, 1, bytes(32)), selector or {})


def made(found: list[BundleForm] | tuple[BundleForm, ...]) -> dict[str, dict[str, str]]:
    """By name, which form of each member it has."""
    return {one.name: {place: part.name for place, part in one.parts.items()} for one in found}


FP32, INT8 = form("fp32"), form("int8", SMALL)


def test_members_in_one_form_make_one_that_asks_for_what_they_ask_for() -> None:
    (only,) = bundle_forms({"big": [form("default")], "little": [INT8]})
    assert (only.name, only.selector) == ("default", SMALL)


def test_a_member_in_two_forms_makes_two() -> None:
    found = list(bundle_forms({"big": [form("default")], "little": [FP32, INT8]}))
    assert made(found) == {"fp32": {"big": "default", "little": "fp32"}, "int8": {"big": "default", "little": "int8"}}
    assert [one.selector for one in found] == [{}, SMALL]


def test_what_is_never_chosen_is_left_out() -> None:
    found = list(bundle_forms({"big": [FP32, INT8], "little": [FP32, INT8]}))
    assert list(made(found)) == ["fp32", "int8"]
    assert found[1].selector == {"big:memory": "<4GiB", "little:memory": "<4GiB"}
    tighter = form("int4", {"memory": "<2GiB"})
    assert list(made(list(bundle_forms({"big": [FP32, INT8], "little": [FP32, tighter]})))) == [
        "fp32",
        "big.int8-little.fp32",
        "big.int8-little.int4",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SMALL, LARGE),
        ({"memory": "<=4GiB"}, {"memory": ">4GiB"}),
        ({"cpus": "4"}, {"cpus": ">=8"}),
        ({"arch": "arm64"}, {"arch": "x86_64|amd64"}),
        ({"os": "linux"}, {"os": "darwin"}),
    ],
)
def test_what_no_node_is_is_left_out(one: dict[str, str], other: dict[str, str]) -> None:
    forms = [form("a", one), form("b", other)]
    assert list(made(list(bundle_forms({"big": forms, "little": forms})))) == ["a", "b"]
    with pytest.raises(BadInputError, match="excludes one another"):
        bundle_forms({"big": forms[:1], "little": forms[1:]})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"memory": "<=4GiB"}, {"memory": ">=4GiB"}),
        ({"arch": "arm64"}, {"arch": "aarch64"}),
        ({"accelerators": "cuda"}, {"accelerators": "hailo"}),
        ({"runtimes": "tflite"}, {"runtimes": "onnxruntime"}),
    ],
)
def test_what_a_node_may_well_be_is_there(one: dict[str, str], other: dict[str, str]) -> None:
    (found,) = bundle_forms({"big": [form("a", one)], "little": [form("b", other)]})
    assert len(found.selector) == 2


def test_a_name_that_several_ask_for_says_for_whom() -> None:
    found = bundle_forms({"big": [form("cuda", {"accelerators": "cuda"}), FP32], "little": [FP32, INT8]})
    assert found[1].selector == {"accelerators": "cuda", "memory": "<4GiB"}
    found = bundle_forms({"big": [FP32, INT8], "little": [FP32, form("int4", {"memory": "<2GiB", "arch": "arm64"})]})
    assert found[-1].selector == {"big:memory": "<4GiB", "little:memory": "<2GiB", "little:arch": "arm64"}


def test_names_that_are_none_are_numbers() -> None:
    place = "b" * 60
    found = bundle_forms({place: [FP32, INT8], "little": [FP32, form("int8", {"arch": "arm64"})]})
    assert [one.name for one in found] == ["form-1", "form-2", "form-3", "form-4"]


def test_too_many_are_refused_with_what_to_write_and_soon() -> None:
    members = {
        f"m{place}": [form(f"v{number}", {f"camera-{place}-{number}": "yes"}) for number in range(4)]
        for place in range(60)
    }
    with pytest.raises(LimitError, match=f"more than {MOST}") as refused:
        bundle_forms(members)
    assert "--variant PLACE:NAME" in refused.value.hint
    assert len(bundle_forms({place: members[place] for place in ("m0", "m1")})) == MOST
