"""The only place that says by what a release is found: what it says itself, and its files, as values with names.

The names are those of `fields.py`. Two are not here because they change while a release does not: the channels that
name it, and numbers that are recorded about it later; whoever keeps traits adds those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelsyncd.card import NO_CARD, Card
from modelsyncd.release import Release

if TYPE_CHECKING:  # it brings all readers of formats, and a node that searches reads no files
    from modelsyncd.facts import Facts

VERSION = 1
"""Grows whenever the same release would have other traits; what was kept under a smaller one is made anew."""
TEXT_CHARS = 256  # characters of one text: what is longer is found by its beginning
MOST = 4_096  # traits of one release: no header of a file makes the catalogue grow without end
PORTS = 64  # inputs, and as many outputs, of one variant
METRIC, LABEL = "metrics.", "labels."


@dataclass(frozen=True, slots=True)
class Trait:
    """One value of a field; a number is a count, bytes or seconds since 1970 as the field's kind says.

    `variant` is "" for what holds of the whole release.
    """

    key: str
    value: str | float
    variant: str = ""


def traits_of(release: Release, facts: Mapping[str, Facts], card: Card = NO_CARD) -> Sequence[Trait]:
    """All traits of a release; `facts` of its variants by name, as far as their files could be read."""
    found = [*_said(release), *_of_card(release, card)]
    for variant in release.variants:
        ref, named = variant.manifest, variant.name
        found += [Trait("variant", named, named)]
        found += [Trait("size", float(ref.content_size), named), Trait("files", float(ref.files), named)]
        if variant.derivation is not None:
            found.append(Trait("recipe", variant.derivation.recipe or "command", named))
        if variant.name in facts:
            found += _of_files(named, facts[named])
    return list(dict.fromkeys(_short(trait) for trait in found if trait.value != ""))[:MOST]


def _said(release: Release) -> Iterator[Trait]:
    model = release.model
    yield Trait("namespace", model.namespace)
    yield Trait("name", model.name)
    yield Trait("created", float(release.created_at))
    yield Trait("producer", release.producer)
    yield Trait("note", release.note)
    yield Trait("licence", release.licence)
    yield from (Trait("dataset", one) for one in release.datasets)
    for parent in release.parents:
        yield from _named("parent", str(parent.model), parent.number)
    for member in release.members:
        yield from _named("member", str(member.model), member.number)
    yield from (Trait(f"{LABEL}{key}", value) for key, value in sorted(release.labels.items()))
    yield from (Trait(f"{METRIC}{key}", value) for key, value in sorted(release.metrics.items()))


def _named(key: str, model: str, number: int) -> Iterator[Trait]:
    yield Trait(key, model)
    yield Trait(key, f"{model}:{number}")


def _of_card(release: Release, card: Card) -> Iterator[Trait]:
    """What the publisher said counts before what the card says."""
    if not release.licence:
        yield Trait("licence", card.licence)
    if not release.datasets:
        yield from (Trait("dataset", one) for one in card.datasets)
    if "task" not in release.labels:
        yield Trait(f"{LABEL}task", card.task)
    yield from (Trait("tag", one) for one in card.tags)
    yield from (Trait("parent", one) for one in card.parents)


def _of_files(variant: str, facts: Facts) -> Iterator[Trait]:
    yield from _texts("format", facts.formats, variant)
    yield from _texts("framework", facts.frameworks, variant)
    yield from _texts("architecture", facts.architectures, variant)
    yield from _texts("dtype", (name for name, _ in facts.dtypes), variant)
    yield from _texts("input", (port.name for port in facts.inputs[:PORTS]), variant)
    yield from _texts("output", (port.name for port in facts.outputs[:PORTS]), variant)
    if facts.tensors:
        yield Trait("parameters", float(facts.parameters), variant)
        yield Trait("tensors", float(facts.tensors), variant)


def _texts(key: str, values: Iterable[str], variant: str) -> Iterator[Trait]:
    return (Trait(key, value, variant) for value in values)


def _short(trait: Trait) -> Trait:
    if not isinstance(trait.value, str):
        return trait
    clean = "".join(char for char in trait.value[:TEXT_CHARS] if char != "\0")  # which PostgreSQL keeps nowhere
    return Trait(trait.key[:TEXT_CHARS], clean, trait.variant)
