"""The only place where values by which releases are found become words: for people, and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from modelsyncd.ctl.figures import size
from modelsyncd.query.fields import Kind, kind_of
from modelsyncd.wire.v1 import search_pb2 as pb


def value_of(trait: pb.Trait) -> str | float:
    """As a program wants it: a text or a number."""
    return trait.text if trait.WhichOneof("value") == "text" else trait.number


def shown(trait: pb.Trait) -> str:
    """As a person wants it: bytes and times with their units."""
    value = value_of(trait)
    if isinstance(value, str):
        return value
    match kind_of(trait.key):
        case Kind.BYTES:
            return size(value)
        case Kind.TIME:
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M")
        case Kind.COUNT:
            return short(value)
        case _:
            return f"{value:g}"


def short(count: float) -> str:
    """A count as people say it: 22.7M."""
    for unit, worth in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e4)):
        if count >= worth:
            return f"{count / (1e3 if unit == 'k' else worth):.3g}{unit}"
    return f"{count:g}"


def cell(traits: Sequence[pb.Trait], key: str) -> str:
    """All different values of a field, in a cell of a table."""
    return ", ".join(dict.fromkeys(shown(one) for one in traits if one.key == key)) or "-"


def by_key(traits: Sequence[pb.Trait]) -> dict[str, list[str | float]]:
    """All different values by field."""
    found: dict[str, dict[str | float, None]] = {}
    for one in traits:
        found.setdefault(one.key, {})[value_of(one)] = None
    return {key: list(values) for key, values in found.items()}
