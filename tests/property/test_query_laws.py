"""Whatever is typed, a query is read or refused in words; and conditions hold by the laws of logic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from modelsyncd.errors import BadInputError
from modelsyncd.query.judging import Look, Value, holds
from modelsyncd.query.parser import parse_query, parse_rule
from modelsyncd.query.words import And, Any, Compare, Comparison, Condition, Field, Not, Number, Or, Text

PIECES = [
    *("task", "metrics.p", "size", "current.p", "=", "!=", "<", ">=", ":", "and", "or", "not", "(", ")", "*", "+", "-"),
    *("0.8", "1e400", "20MiB", "7 days ago", "2026-11-01", '"a b"', "'", '"', "\\", "\n", "\0", "ü", "."),
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=14).map(" ".join) | st.text(max_size=60))
@example("a = " + "9" * 400)
@example("created < " + "9" * 400 + " days ago")
@example("a" + " + b" * 1_200 + " > 3")
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    for parse in (parse_query, parse_rule):
        with suppress(BadInputError):
            assert parse(text, 1.8e9) is not None


FACTS: Mapping[str, Sequence[Value]] = {
    "labels.task": ["helmet", "Gloves"],
    "metrics.p": [0.5, 0.9],
    "format": ["onnx"],
    "size": [100.0],
}


def look(field: Field) -> Sequence[Value]:
    """What one release says."""
    return FACTS.get(field.name, ())


fields = st.sampled_from([*FACTS, "labels.none", "metrics.none"]).map(Field)
values = st.sampled_from([Text("helmet"), Text("h*t"), Text("GLOVE"), Number(0.5), Number(100), Any()])
leaves = st.builds(Comparison, fields, st.sampled_from(Compare), values)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, max_size=3).map(lambda found: And(tuple(found))),
        st.lists(inner, max_size=3).map(lambda found: Or(tuple(found))),
    ),
    max_leaves=8,
)


@given(conditions, conditions)
def test_conditions_obey_logic(one: Condition, other: Condition) -> None:
    a, b = holds(one, look), holds(other, look)
    assert holds(Not(one), look) is not a
    assert holds(And((one, other)), look) is (a and b)
    assert holds(Or((one, other)), look) is (a or b)
    assert holds(Not(And((one, other))), look) is holds(Or((Not(one), Not(other))), look)


@given(fields, values)
def test_unequal_is_not_equal(field: Field, value: Text | Number | Any) -> None:
    equal, unequal = Comparison(field, Compare.EQUAL, value), Comparison(field, Compare.NOT_EQUAL, value)
    assert holds(unequal, look) is not holds(equal, look)


def said(text: str, look: Look = look) -> bool:
    """Whether a query holds."""
    return holds(parse_query(text, 1.8e9), look)


def test_one_of_several_values_is_enough() -> None:
    assert said("task = helmet")
    assert said("task = Gloves")
    assert said("metrics.p > 0.8")
    assert said("metrics.p < 0.6")
    assert not said("task = gloves")
    assert said("task : GLOVE")
    assert said("task = h*t and task = *s")
    assert not said("task = *x*")


def test_what_is_not_said_is_neither_more_nor_less() -> None:
    assert not said("metrics.none > 0")
    assert not said("metrics.none < 0")
    assert said("not metrics.none > 0")
    assert said("metrics.none != 0")
    assert not said("none = *")


def test_a_rule_compares_two_releases() -> None:
    now: Look = lambda field: [0.85] if field.current else look(field)  # noqa: E731
    rule = parse_rule("metrics.p >= current.p + 0.05", 0.0)
    assert holds(rule, now)
    assert not holds(rule, lambda field: [0.9] if field.current else look(field))
    assert not holds(rule, lambda field: [] if field.current else look(field))
