"""The only place that decides which variant of a release fits a node: the hub and the node ask the same function.

A variant's selector names labels and facts that a node must have, all of them. A value is a word ("cuda"), several to
choose from ("cuda|rocm"), or a bound on a number (">=4GiB", "<2"); sizes are read as people write them. A node's labels
are its operator's word and count before the facts that it gathered itself; a fact may have several values (the runtimes
that are installed), and one of them is enough.

A form of a bundle asks for what its members ask for, and says for whom: "big:memory" is the node's memory.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence

from modelsyncd.errors import BadInputError
from modelsyncd.release import Variant
from modelsyncd.sizes import parse_size

Facts = Mapping[str, Sequence[str]]
"""What a node says of itself: values by name, numbers as digits."""
Demands = Collection[tuple[str, str]]
"""What one or several selectors ask for: names with values; a name may come more than once."""

_BOUND = re.compile(r"(>=|<=|>|<)\s*(.+)")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


_SIZES = frozenset(("memory",))
"""Facts that are bytes: no two machines have the same, so that only bounds make sense."""
_COUNTS = frozenset(("cpus",))
"""Facts that count something."""
_SINGLE = frozenset(("arch", "board", "os")) | _SIZES | _COUNTS
"""Facts of which a node has one value, but for other words for the same."""
_SAME = {"x86_64": "amd64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "aarch64"}
"""Other words for the same architecture."""


def best_variant(variants: Sequence[Variant], labels: Mapping[str, str], facts: Facts) -> Variant | None:
    """The variant for a node: of those that fit, the one that demands most, and of these the one that comes first.

    None when none fits.
    """
    fitting = [variant for variant in variants if not misfits(variant.selector, labels, facts)]
    return max(fitting, key=lambda variant: len(variant.selector), default=None)


def misfits(selector: Mapping[str, str], labels: Mapping[str, str], facts: Facts) -> list[str]:
    """What keeps a variant from a node, a phrase for each: "memory is 2147483648, not >=4GiB"; none when it fits."""
    found: list[str] = []
    for name, wanted in selector.items():
        values = _values(name, labels, facts)
        if not any(_meets(value, wanted) for value in values):
            found.append(f"{name} is {' and '.join(values) or 'not known'}, not {wanted}")
    return found


def _values(name: str, labels: Mapping[str, str], facts: Facts) -> Sequence[str]:
    """What a node has of that name, or else of what is left of it without the place of a bundle's member."""
    while name not in labels and name not in facts:
        _, colon, name = name.partition(":")
        if not colon:
            return ()
    return [labels[name]] if name in labels else list(facts[name])


def entails(these: Demands, others: Demands) -> bool:
    """Whether every node that meets all of these meets all of the others. False where that can't be told."""
    return all(any(name == other and _stricter(value, wanted) for name, value in these) for other, wanted in others)


def excludes(these: Demands, others: Demands) -> bool:
    """Whether no node can meet all of these and all of the others: it has one processor, and so much memory."""
    return any(
        name == other and name in _SINGLE and _apart(value, wanted) for name, value in these for other, wanted in others
    )


def check_selector(selector: Mapping[str, str]) -> None:
    """Raises BadInputError for a value that no node can ever meet."""
    for name, wanted in selector.items():
        bound = _BOUND.fullmatch(wanted)
        if not name or not wanted.strip("|"):
            raise BadInputError(f"{name}={wanted} selects nothing", hint="write it as in arch=arm64 or memory=>=4GiB")
        if bound and _number(bound[2]) is None:
            raise BadInputError(f"{name}: {bound[2]!r} is no number", hint=f"write it as in {name}{bound[1]}4GiB")
        if bound is None:
            _check_words(name, wanted.split("|"))


def _check_words(name: str, words: Sequence[str]) -> None:
    for word in words:
        if _BOUND.fullmatch(word):
            raise BadInputError(f"{name}: {word} is one of several, and a bound stands alone", hint=f"{name}={word}")
        if _is_no_value(name, word):
            raise BadInputError(
                f"{name}={word} is met by no node: {name} is a number, and {word} no bound on it",
                hint=f"write it as in {name}=>={word} or {name}=<{word}",
            )


def _is_no_value(name: str, word: str) -> bool:
    """Whether it is a number that a node never has just so: it says bytes, and counts in digits."""
    plain = name.rpartition(":")[2]
    exact = word.isdigit() and plain not in _SIZES
    return plain in _SIZES | _COUNTS and not exact and _number(word) is not None


def _stricter(value: str, wanted: str) -> bool:
    """Whether whatever meets `value` meets `wanted`."""
    bound, other = _BOUND.fullmatch(value), _BOUND.fullmatch(wanted)
    if bound is None:
        return all(_meets(word, wanted) for word in value.split("|"))
    if other is None or bound[1][0] != other[1][0]:
        return False
    this, that = _number(bound[2]), _number(other[2])
    if this is None or that is None:
        return value == wanted
    inside = bound[1] == other[1] or other[1].endswith("=")
    return _COMPARE[bound[1][0]](this, that) or (this == that and inside)


def _apart(value: str, wanted: str) -> bool:
    """Whether one value can't meet both."""
    bound, other = _BOUND.fullmatch(value), _BOUND.fullmatch(wanted)
    if bound is None:
        words = [word for each in value.split("|") for word in (each, _SAME.get(each, each))]
        return not any(_meets(word, wanted) for word in words)
    if other is None:
        return _apart(wanted, value)
    this, that = _number(bound[2]), _number(other[2])
    if this is None or that is None or bound[1][0] == other[1][0]:
        return False
    # A bound from below and one from above: the ends are apart, or the same and not in both.
    inside = bound[1].endswith("=") and other[1].endswith("=")
    return _COMPARE[bound[1][0]](this, that) or (this == that and not inside)


def _meets(value: str, wanted: str) -> bool:
    bound = _BOUND.fullmatch(wanted)
    if bound is None:
        return value in wanted.split("|")
    have, least = _number(value), _number(bound[2])
    return have is not None and least is not None and _COMPARE[bound[1]](have, least)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return float(parse_size(text))
    except BadInputError:
        return None
