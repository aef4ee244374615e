"""The only place that says in which forms a bundle comes, from the forms of its members. Pure.

Law: each node gets that form of a bundle which has of each member the very form that the node would get of it alone,
and none where a member has none for it. That holds because a form of the bundle asks for all that its parts ask for,
each name for each of them, so that the one which asks for most is made of those which do; of as many, the first is.

So many combinations of forms are possible, and so few ever chosen: left out are those that no node can meet, as a part
below and a part above some memory, and those in whose place every node that meets them gets another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelsyncd.errors import BadInputError, InvalidNameError, LimitError
from modelsyncd.fitting import entails, excludes
from modelsyncd.names import parse_variant
from modelsyncd.release import DEFAULT_VARIANT, Variant

MOST = 16  # forms of a bundle: each has a manifest of its own

_Chosen = tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class BundleForm:
    """One form of a bundle: which form of each member it has, by place, and whom it is for."""

    name: str
    selector: Mapping[str, str]
    parts: Mapping[str, Variant]


def bundle_forms(members: Mapping[str, Sequence[Variant]]) -> Sequence[BundleForm]:
    """The forms of a bundle of these members, in the order of their own forms.

    Raises LimitError for too many, BadInputError when no node could have any.
    """
    found: Sequence[_Chosen] = [()]
    for forms in members.values():
        found = _useful([(*each, form) for each in found for form in forms if not _clash(each, form)])
    if not found:
        raise BadInputError(
            "no node can have a form of each member: what they ask for excludes one another",
            safe="nothing was published",
            hint="modelsyncctl show says whom a form is for",
        )
    parts = [dict(zip(members, each, strict=True)) for each in found]
    clear = _is_clear(members)
    return [
        BundleForm(name, _selector(each, clear=clear), each)
        for name, each in zip(_names(members, parts), parts, strict=True)
    ]


def _clash(chosen: _Chosen, form: Variant) -> bool:
    return any(excludes(one.selector.items(), form.selector.items()) for one in chosen)


def _useful(combinations: Sequence[_Chosen]) -> Sequence[_Chosen]:
    """Without those in whose place another one is always chosen."""
    kept: list[int] = []
    asked = [[pair for form in each for pair in form.selector.items()] for each in combinations]
    for at in sorted(range(len(combinations)), key=lambda at: -len(asked[at])):  # as they are chosen: ties stay
        if not any(entails(asked[at], asked[better]) for better in kept):
            kept.append(at)
        if len(kept) > MOST:
            raise LimitError(
                f"the forms of the members make more than {MOST} forms of the bundle",
                safe="nothing was published",
                hint="say which forms of a member it takes: --variant PLACE:NAME, repeatable",
            )
    return [combinations[at] for at in sorted(kept)]


def _is_clear(members: Mapping[str, Sequence[Variant]]) -> bool:
    """Whether each name is asked for by one member only, so that it can stand alone."""
    names = [{name for form in forms for name in form.selector} for forms in members.values()]
    count = Counter(name for each in names for name in each)
    return all(times == 1 and ":" not in name for name, times in count.items())


def _selector(parts: Mapping[str, Variant], *, clear: bool) -> Mapping[str, str]:
    """All that its parts ask for, each with its place where a name alone could be that of several."""
    return {
        name if clear else f"{place}:{name}": value
        for place, form in parts.items()
        for name, value in form.selector.items()
    }


def _names(members: Mapping[str, Sequence[Variant]], parts: Sequence[Mapping[str, Variant]]) -> Sequence[str]:
    """ "int8" where all that come in several forms have that one, else "big.fp32-little.int8"; or numbers."""
    several = [place for place, forms in members.items() if len(forms) > 1]
    names = [_name({place: each[place].name for place in several}) for each in parts]
    try:
        if len({parse_variant(name) for name in names}) == len(names):
            return names
    except InvalidNameError:
        pass
    return [f"form-{number}" for number in range(1, len(parts) + 1)]


def _name(chosen: Mapping[str, str]) -> str:
    if len(set(chosen.values())) <= 1:
        return next(iter(chosen.values()), DEFAULT_VARIANT)
    return "-".join(f"{place}.{name}" for place, name in chosen.items())
