"""A node gets the variant that fits it best, and a release that has none for it says why."""

from __future__ import annotations

import pytest

from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError
from modelsyncd.fitting import best_variant, check_selector, misfits
from modelsyncd.release import ManifestRef, Variant

FACTS = {"arch": ["aarch64"], "memory": [str(8 << 30)], "runtime": ["onnxruntime", "tflite"], "cores": ["4"]}


def variant(name: str, **selector: str) -> Variant:
    """A variant that demands this."""
    ref = ManifestRef(Digest(name.encode().ljust(32, b".")), 10, 10, 1, b"\0" * 32)
    return Variant(name, ref, selector)


FULL, INT8, ARM = (
    variant("fp32"),
    variant("int8", runtime="onnxruntime"),
    variant("arm", arch="aarch64", memory=">=4GiB"),
)


def chosen(*variants: Variant, labels: dict[str, str] | None = None, facts: dict[str, list[str]] | None = None) -> str:
    """The name of what a node gets; "" for none."""
    found = best_variant(variants, labels or {}, FACTS if facts is None else facts)
    return found.name if found else ""


def test_the_variant_that_demands_most_of_what_fits_is_best() -> None:
    assert chosen(FULL, INT8, ARM) == "arm"
    assert chosen(FULL, INT8) == "int8"
    assert chosen(FULL) == "fp32"


def test_of_equals_the_publishers_first_is_best() -> None:
    other = variant("other", runtime="tflite")
    assert chosen(INT8, other) == "int8"
    assert chosen(other, INT8) == "other"


def test_a_node_that_says_nothing_gets_what_fits_everyone() -> None:
    assert chosen(ARM, FULL, INT8, facts={}) == "fp32"
    assert chosen(ARM, INT8, facts={}) == ""


def test_a_label_counts_before_a_fact() -> None:
    assert chosen(INT8, labels={"runtime": "triton"}) == ""
    assert chosen(INT8, labels={"runtime": "onnxruntime"}, facts={}) == "int8"


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ("aarch64", True),
        ("x86_64|aarch64", True),
        ("x86_64", False),
        ("aarch", False),
        (">=4", False),
    ],
)
def test_words_are_one_of_those_wanted(wanted: str, fits: bool) -> None:
    assert (not misfits({"arch": wanted}, {}, FACTS)) is fits


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [(">=8GiB", True), (">8GiB", False), ("<=8GiB", True), ("< 9GB", True), (">= 8589934592", True), ("<2e9", False)],
)
def test_numbers_are_bounded(wanted: str, fits: bool) -> None:
    assert (not misfits({"memory": wanted}, {}, FACTS)) is fits


def test_what_does_not_fit_is_said() -> None:
    assert misfits({"memory": ">=16GiB", "accelerator": "cuda"}, {}, FACTS) == [
        "memory is 8589934592, not >=16GiB",
        "accelerator is not known, not cuda",
    ]


@pytest.mark.parametrize(("name", "value"), [("memory", ">=much"), ("arch", ""), ("arch", "|"), ("", "x")])
def test_a_selector_that_nothing_meets_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadInputError):
        check_selector({name: value})


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("memory", "4GiB", "memory=>=4GiB"),
        ("memory", "4294967296", "memory=>=4294967296"),
        ("memory", "2GiB|4GiB", "memory=>=2GiB"),
        ("cpus", "4.0", "cpus=>=4.0"),
        ("cpus", "4|8kB", "cpus=>=8kB"),
        ("cores", "2|>=4", "cores=>=4"),
    ],
)
def test_a_number_that_no_node_has_just_so_is_refused_with_the_bound_to_write(name: str, value: str, hint: str) -> None:
    with pytest.raises(BadInputError) as refused:
        check_selector({name: value})
    assert hint in refused.value.hint


@pytest.mark.parametrize(("name", "value"), [("cpus", "4"), ("cpus", "4|8"), ("memory", "small"), ("site", "4GiB")])
def test_a_count_and_a_label_may_be_just_so(name: str, value: str) -> None:
    check_selector({name: value})
    assert not misfits({name: value}, {name: value.partition("|")[0]}, {})


def test_a_sound_selector_is_none_of_these() -> None:
    check_selector({"memory": ">=4GiB", "arch": "aarch64|x86_64", "cores": ">2"})
