"""The only place that answers queries on a node: conditions become sets of releases, and sets are joined.

It works with the hub away, from the extract that the hub told of last. Everything here blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from modelsyncd.errors import BadInputError
from modelsyncd.query.fields import full_name
from modelsyncd.query.parser import parse_query
from modelsyncd.query.traits import Trait
from modelsyncd.query.words import And, Any, Compare, Comparison, Condition, Field, Not, Number, Or, Text
from modelsyncd.store.extract import Extract, ReleaseLine

Readable = Collection[str]


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A release that was found, with the values that were asked for."""

    release: ReleaseLine
    traits: Sequence[Trait]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found; `total` is how many there are, `heard_at` when the hub was heard last, seconds since 1970."""

    found: Sequence[FoundLine]
    total: int
    heard_at: float


def models_in(extract: Extract) -> list[str]:
    """The models that the extract is of. Raises DiskError."""
    return sorted(extract.marks())


def find(
    extract: Extract, query: str, sort: str, *, limit: int, fields: Sequence[str], readable: Readable, now: float
) -> Answer:
    """Releases of readable models for which a query is true. Raises BadInputError, DiskError."""
    among = extract.everything(readable)
    found = _matching(extract, parse_query(query, now), among)
    lines = extract.lines(_first(extract, found, sort, limit))
    keys = {full_name(name) for name in fields}
    shown = [FoundLine(line, extract.traits(line.id, keys) if keys else ()) for line in lines]
    return Answer(shown, len(found), extract.heard_at)


def _matching(extract: Extract, condition: Condition, among: set[int]) -> set[int]:
    match condition:
        case And(conditions):
            found = among
            for one in conditions:
                found = found & _matching(extract, one, among)
            return found
        case Or(conditions):
            return set[int]().union(*(_matching(extract, one, among) for one in conditions))
        case Not(inner):
            return among - _matching(extract, inner, among)
        case Comparison(Field(name), Compare.NOT_EQUAL, value):
            return among - _matching(extract, Comparison(Field(name), Compare.EQUAL, value), among)
        case Comparison(Field(name), _, Any()):
            return among & extract.with_any(name)
        case Comparison(Field(name), how, Number(value)):
            return among & extract.with_number(name, how, value)
        case Comparison(Field(name), how, Text(text)):
            return among & extract.with_text(name, how, text)
        case _:
            raise BadInputError("a comparison begins with a field")


def _first(extract: Extract, found: set[int], sort: str, limit: int) -> list[int]:
    """As the hub sorts: what has no value comes last, and among equals what was committed last first."""
    if not sort:
        return extract.newest(found, limit)
    descending, name = sort.startswith("-"), full_name(sort.removeprefix("-"))
    if name in ("channel", "labels.", "metrics."):
        raise BadInputError(f"releases can't be sorted by {sort[:80]!r}", hint="as in created, -size, metrics.p")
    if name in ("model", "number"):
        of: Mapping[int, str | int] = extract.models() if name == "model" else extract.numbers()
        return sorted(extract.newest(found, len(found)), key=of.__getitem__, reverse=descending)[:limit]
    ranked = extract.ranked(name, found, limit, largest_first=descending)
    place = {one: rank for rank, one in enumerate(extract.newest({one for one, _ in ranked}, len(ranked)))}
    ranked.sort(key=lambda each: place[each[0]])
    ranked.sort(key=lambda each: _order(each[1]), reverse=descending)
    first = [one for one, _ in ranked][:limit]
    if len(first) < limit:
        first += extract.newest(found - set(first), limit - len(first))
    return first


def _order(value: str | float) -> tuple[int, float, str]:
    return (1, 0.0, value) if isinstance(value, str) else (0, value, "")
