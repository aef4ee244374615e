"""The query language reads what people write, and points at what it can't read."""

from __future__ import annotations

import pytest

from modelsyncd.errors import BadInputError
from modelsyncd.query.parser import NESTING, QUERY_CHARS, TERMS, parse_query, parse_rule
from modelsyncd.query.words import (
    EVERYTHING,
    And,
    Any,
    Compare,
    Comparison,
    Field,
    Not,
    Number,
    Operand,
    Operator,
    Or,
    Sum,
    Text,
)

NOW = 1_800_000_000.0


def one(name: str, how: str, value: Operand) -> Comparison:
    """A comparison of a field with a constant."""
    return Comparison(Field(name), Compare(how), value)


A, B, C = one("labels.a", "=", Text("1")), one("labels.b", "=", Text("2")), one("labels.c", "=", Text("3"))


def test_the_query_of_the_manual() -> None:
    assert parse_query('task = "helmet" and metrics.precision > 0.8 and format = onnx', NOW) == And(
        (
            one("labels.task", "=", Text("helmet")),
            one("metrics.precision", ">", Number(0.8)),
            one("format", "=", Text("onnx")),
        )
    )


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a=1 or b=2 and c=3", Or((A, And((B, C))))),
        ("(a=1 or b=2) and c=3", And((Or((A, B)), C))),
        ("not a=1 and b=2", And((Not(A), B))),
        ("NOT (a=1 AND b=2) OR c=3", Or((Not(And((A, B))), C))),
        ("", EVERYTHING),
        ("  \n", EVERYTHING),
    ],
)
def test_and_binds_closer_than_or_and_not_closest(text: str, meant: object) -> None:
    assert parse_query(text, NOW) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("size > 20MiB", one("size", ">", Number(20 << 20))),
        ("size > 20MB", one("size", ">", Number(20e6))),
        ("parameters >= 22.7M", one("parameters", ">=", Number(22.7e6))),
        ("params < 7b", one("parameters", "<", Number(7e9))),
        ("metrics.loss < -1e-3", one("metrics.loss", "<", Number(-0.001))),
        ("metrics.p >= 0.5 + 0.25", one("metrics.p", ">=", Number(0.75))),
        ("created > 2027-01-15", one("created", ">", Number(1_799_971_200))),
        ("created > 2027-01-15T08:00Z", one("created", ">", Number(NOW))),
        ("created < 7 days ago", one("created", "<", Number(NOW - 7 * 86_400))),
        ("created < 36h ago", one("created", "<", Number(NOW - 36 * 3_600))),
        ("number = 3", one("number", "=", Number(3))),
        ("labels.version = 3.0", one("labels.version", "=", Text("3.0"))),
        ("day = 2027-01-15", one("labels.day", "=", Text("2027-01-15"))),
        ("arch = arm64-v8", one("labels.arch", "=", Text("arm64-v8"))),
        ("camera = 3d-left", one("labels.camera", "=", Text("3d-left"))),
        ("model = acme/helmet", one("model", "=", Text("acme/helmet"))),
        ("name = helm*", one("name", "=", Text("helm*"))),
        ("format = *", one("format", "=", Any())),
        ("note : 'night shift'", one("note", ":", Text("night shift"))),
        ('labels."made by" != ann', one("labels.made by", "!=", Text("ann"))),
        ('metrics."val/loss" < 1', one("metrics.val/loss", "<", Number(1))),
        (r'note = "a \"b\" \\"', one("note", "=", Text('a "b" \\'))),
        ("license = apache-2.0", one("licence", "=", Text("apache-2.0"))),
    ],
)
def test_constants_are_read_by_the_kind_of_their_field(text: str, meant: Comparison) -> None:
    assert parse_query(text, NOW) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrics.precision > good", "metrics.precision is a number, and compared with good"),
        ("created > yesterday", "created is a time"),
        ("format > onnx", "it has no order"),
        ("size : 3", "looks for a text in a text"),
        ("metrics.p > *", "says nothing"),
        ("metrics.a >", "at its end: metrics.a >▸"),
        ("a = b c", "at 'c': a = b ▸c"),
        ("(a = b", "at its end"),
        ("and", "at 'and'"),
        ("created > 2026-13-01", "no day of the calendar"),
        ("'a' = b", "begins with a field"),
        ("current.p > 3", "begins with a field"),
        ("metrics.a > metrics.b", "no constant"),
        ("a = b" + " and a = b" * TERMS, "100 comparisons"),
        ("x" * (QUERY_CHARS + 1), "4000 characters"),
        ("(" * (NESTING + 1) + "a=b" + ")" * (NESTING + 1), "at most 50 brackets"),
    ],
)
def test_what_can_not_be_read_is_pointed_at(text: str, said: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_query(text, NOW)
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("text", ["metrics.precision[1] > 0.8", "metrics.precision == 1"])
def test_what_is_nearly_right_is_shown_as_it_should_be(text: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_query(text, NOW)
    right = caught.value.hint.partition("as in ")[2]
    assert right
    assert parse_query(right, NOW)


def test_brackets_in_a_text_are_no_nesting() -> None:
    assert parse_query(f'note = "{"(" * 200}"', NOW) == one("note", "=", Text("(" * 200))


def test_the_rule_of_the_manual() -> None:
    precision = Field("metrics.precision")
    bar = Sum(Field("metrics.precision", current=True), Operator.PLUS, Number(0.01))
    assert parse_rule("metrics.precision >= current.precision + 0.01", NOW) == Comparison(
        precision, Compare.AT_LEAST, bar
    )


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("size <= current.size", Comparison(Field("size"), Compare.AT_MOST, Field("size", current=True))),
        ("format = current.format", Comparison(Field("format"), Compare.EQUAL, Field("format", current=True))),
        ("0.9 < metrics.p", Comparison(Number(0.9), Compare.LESS, Field("metrics.p"))),
        (
            "metrics.loss < current.metrics.loss * 0.9 - 1",
            Comparison(
                Field("metrics.loss"),
                Compare.LESS,
                Sum(Sum(Field("metrics.loss", current=True), Operator.TIMES, Number(0.9)), Operator.MINUS, Number(1)),
            ),
        ),
    ],
)
def test_rules_compare_with_what_is_there_now(text: str, meant: Comparison) -> None:
    assert parse_rule(text, NOW) == meant


@pytest.mark.parametrize(
    "text",
    ["1 < 2", "metrics.loss < current.loss*0.9", "metrics.p > current.format + 1", "note = current.note + 1", "* = *"],
)
def test_a_rule_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadInputError):
        parse_rule(text, NOW)
