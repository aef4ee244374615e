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


def test_a_sound_selector_is_none_of_these() -> None:
    check_selector({"memory": ">=4GiB", "arch": "aarch64|x86_64", "cores": ">2"})
