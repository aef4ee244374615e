"""A node gets that form of a bundle which has of each member the very form that the node would get of it alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product, starmap

from hypothesis import assume, given
from hypothesis import strategies as st

from modelsyncd.bundle_forms import bundle_forms
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, LimitError
from modelsyncd.fitting import best_variant, check_selector
from modelsyncd.release import ManifestRef, Variant, check_variants

BOUNDS = st.builds("{}{}".format, st.sampled_from(["<", "<=", ">", ">="]), st.sampled_from(["1", "2"]))
SELECTORS = st.fixed_dictionaries(
    {},
    optional={
        "arch": st.sampled_from(["x86_64", "amd64", "arm64|x86_64", "arm64"]),
        "accelerators": st.sampled_from(["cuda", "rocm", "cuda|rocm"]),
        "memory": BOUNDS,
    },
)
MEMBERS = st.lists(st.lists(SELECTORS, min_size=1, max_size=3), min_size=2, max_size=3)
ARCHES = [(), ("x86_64", "amd64"), ("aarch64", "arm64")]
ACCELERATORS = [(), ("cuda",), ("rocm",), ("cuda", "rocm")]
MEMORIES = [(), ("0",), ("1",), ("2",), ("3",)]
Node = tuple[dict[str, str], dict[str, Sequence[str]]]
LABELLED: Node = (
    {"memory": "2", "accelerators": "rocm"},
    {"memory": ["0"], "arch": ["arm64"], "accelerators": ["cuda"]},
)


def node(arch: Sequence[str], accelerators: Sequence[str], memory: Sequence[str]) -> Node:
    """One that says what it knows."""
    said = {"arch": arch, "accelerators": accelerators, "memory": memory}
    return {}, {name: values for name, values in said.items() if values}


NODES = [LABELLED, *starmap(node, product(ARCHES, ACCELERATORS, MEMORIES))]
"""All that there are, by labels and facts: of each kind a few."""


def member(place: str, selectors: list[dict[str, str]]) -> list[Variant]:
    """A release in so many forms."""
    names = [f"{place}{number}" for number in range(len(selectors))]
    refs = [ManifestRef(digest_of(name.encode()), 10, 10, 1, bytes(32)) for name in names]
    return [Variant(*each) for each in zip(names, refs, selectors, strict=True)]


@given(MEMBERS)
def test_the_form_of_each_member_is_the_one_that_the_node_would_get_alone(said: list[list[dict[str, str]]]) -> None:
    members = {f"m{number}": member(f"m{number}", selectors) for number, selectors in enumerate(said)}
    try:
        forms = bundle_forms(members)
    except LimitError:
        assume(False)
    except BadInputError:
        forms = []
    refs = [ManifestRef(digest_of(form.name.encode()), 10, 10, 1, bytes(32)) for form in forms]
    variants = [Variant(form.name, ref, form.selector) for form, ref in zip(forms, refs, strict=True)]
    check_variants(variants)
    for form in forms:
        check_selector(form.selector)
    for labels, facts in NODES:
        alone = {place: best_variant(each, labels, facts) for place, each in members.items()}
        together = best_variant(variants, labels, facts)
        if together is None:
            assert None in alone.values()
        else:
            assert forms[variants.index(together)].parts == alone
