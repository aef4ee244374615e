"""The only place that reads the query language: text in, conditions out, and a clear error that points at the place.

The grammar is read by lark (https://lark-parser.readthedocs.io), LALR(1). It follows AIP-160
(https://google.aip.dev/160) where that says something; where it differs (`and` and `or` are lower case too and `and`
binds closer, arithmetic is there for rules), docs/query.md says so.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, cast

from modelsyncd.errors import BadInputError
from modelsyncd.query.fields import FAMILIES, FIELDS, Kind, full_name, kind_of
from modelsyncd.query.words import (
    EVERYTHING,
    And,
    Any,
    Compare,
    Comparison,
    Condition,
    Field,
    Not,
    Number,
    Operand,
    Operator,
    Or,
    Sum,
    Text,
)

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

QUERY_CHARS = 4_000  # characters of one query
NESTING = 50  # brackets and "not"s inside one another
TERMS = 100  # comparisons in one query
_HINT = "modelsyncctl query --help shows the language; docs/query.md explains it"
_NEARLY = {
    "[": """put a name with brackets in quotes, as in metrics."precision[3]" > 0.8""",
    "=": "write one = for equal, as in metrics.precision = 1",
}
"""What was meant, by the letter that can't be read."""

_GRAMMAR = r"""
?start: either
?either: both (_OR both)*
?both: one (_AND one)*
?one: _NOT one -> negation
    | "(" either ")"
    | operand COMPARE operand -> comparison
?operand: product
    | operand PLUS product -> total
?product: value
    | product STAR value -> total
value: NAME | REF | QUOTED | QUANTITY | DATE | AGO | STAR

_OR.3: /or\b/i
_AND.3: /and\b/i
_NOT.3: /not\b/i
COMPARE: "!=" | "<=" | ">=" | "=" | "<" | ">" | ":"
PLUS.2: /[+-](?=\s)/
STAR: "*"
DATE.3: /\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z?)?/
AGO.3: /\d+(\.\d+)?\s*(seconds?|minutes?|hours?|days?|weeks?|[smhdw])\s+ago\b/i
QUANTITY.2: /[+-]?\d+(\.\d+)?(e[+-]?\d+)?(([kmgt]i?)?b|[kmbgt])?(?![\w.\/])/i
QUOTED: /"(\\.|[^"\\])*"|'(\\.|[^'\\])*'/
REF.4: /\w[\w.-]*\/\w[\w.-]*:\d+(?!\w)/
NAME: /(?!(?:(?i:and|or|not))\b)\w([\w\/@*-]|\.(?!"))*(\."[^"]*")?|\*[\w.\/@*-]+/
%ignore /\s+/
"""

_SCALES = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}
_SCALES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)([a-z]*)", re.IGNORECASE)


def parse_query(text: str, now: float) -> Condition:
    """What a query asks for; fields stand on the left and constants on the right. `now` is seconds since 1970.

    Raises BadInputError.
    """
    condition = _parse(text, now)
    for one in comparisons(condition):
        if not isinstance(one.field, Field) or one.field.current:
            raise BadInputError("a comparison begins with a field, as in metrics.precision > 0.8", hint=_HINT)
        if isinstance(one.value, Field | Sum):
            raise BadInputError(f"{one.field} is compared with something that is no constant", hint=_HINT)
        _check_kind(one.field, one.how, one.value)
    return condition


def parse_rule(text: str, now: float) -> Condition:
    """What a promotion rule demands: as a query, with fields and sums of numbers on both sides, and `current.` for the
    release that the channel names now. Raises BadInputError.
    """
    condition = _parse(text, now)
    for one in comparisons(condition):
        if not any(isinstance(part, Field) for side in (one.field, one.value) for part in parts(side)):
            raise BadInputError("a comparison without a field is always the same", hint=_HINT)
        if isinstance(one.field, Field) and not isinstance(one.value, Field | Sum):
            _check_kind(one.field, one.how, one.value)
            continue
        for side in (one.field, one.value):
            if not (isinstance(side, Field) and isinstance(one.field, Field) and isinstance(one.value, Field)):
                _check_numbers(side)
    return condition


def comparisons(condition: Condition) -> list[Comparison]:
    """All comparisons in it, from left to right."""
    match condition:
        case Comparison():
            return [condition]
        case Not(inner):
            return comparisons(inner)
        case And(conditions) | Or(conditions):
            return [found for one in conditions for found in comparisons(one)]


def parts(operand: Operand) -> list[Operand]:
    """What a sum is made of, or the operand itself."""
    return [*parts(operand.left), *parts(operand.right)] if isinstance(operand, Sum) else [operand]


def _parse(text: str, now: float) -> Condition:
    from lark import UnexpectedInput  # noqa: PLC0415  # an agent that is never asked needs no parser

    if len(text) > QUERY_CHARS:
        raise BadInputError(f"a query may have {QUERY_CHARS} characters, not {len(text)}", hint=_HINT)
    if "\0" in text:
        raise BadInputError("a query has no NUL in it", hint=_HINT)
    if not text.strip():
        return EVERYTHING
    _check_nesting(text)
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        token = getattr(error, "token", None)
        ended = token is not None and token.type == "$END"
        raise _wrong(text, len(text) if ended or error.pos_in_stream is None else error.pos_in_stream) from error
    condition = _Reader(text, now).condition(tree)
    if len(comparisons(condition)) > TERMS:
        raise BadInputError(f"a query may have {TERMS} comparisons", hint=_HINT)
    return condition


@cache
def _parser() -> Lark:
    from lark import Lark  # noqa: PLC0415

    return Lark(_GRAMMAR, parser="lalr", propagate_positions=True, maybe_placeholders=False)


def _check_nesting(text: str) -> None:
    bare = re.sub(r"\"(\\.|[^\"\\])*\"|'(\\.|[^'\\])*'", "", text)
    if bare.count("(") > NESTING or len(re.findall(r"\bnot\b", bare, re.IGNORECASE)) > NESTING:
        raise BadInputError(f"at most {NESTING} brackets and nots in a query", hint=_HINT)


def _wrong(text: str, at: int) -> BadInputError:
    at = len(text.rstrip()) if not 0 <= at <= len(text) else at
    said = text[at : at + 20].split(maxsplit=1)
    where = f"at {said[0]!r}" if said else "at its end"
    shown = " ".join(text.splitlines())
    hint = _NEARLY.get(text[at : at + 1], _HINT)
    return BadInputError(f"the query can't be read {where}: {shown[:at]}▸{shown[at:]}", hint=hint)


class _Reader:
    """Makes lark's tree into conditions."""

    def __init__(self, text: str, now: float) -> None:
        self._text = text
        self._now = now

    def condition(self, tree: Tree[Token]) -> Condition:
        """Of an inner node of the grammar."""
        inner = cast("list[Tree[Token]]", tree.children)
        match str(tree.data):
            case "either":
                return Or(tuple(self.condition(one) for one in inner))
            case "both":
                return And(tuple(self.condition(one) for one in inner))
            case "negation":
                return Not(self.condition(inner[0]))
            case _:
                left, how, right = cast("list[object]", tree.children)
                return self._comparison(cast("Tree[Token]", left), Compare(str(how)), cast("Tree[Token]", right))

    def _comparison(self, left: Tree[Token], how: Compare, right: Tree[Token]) -> Comparison:
        field, value = self._operand(left, left=True), self._operand(right, left=False)
        if isinstance(field, Field) and isinstance(value, Text) and kind_of(field.name) is not Kind.TEXT:
            raise self._no_number(field, right)
        if isinstance(field, Field) and isinstance(value, Number) and kind_of(field.name) is Kind.TEXT:
            value = Text(self._source(right))
        return Comparison(field, how, value)

    def _operand(self, tree: Tree[Token], *, left: bool) -> Operand:
        if str(tree.data) == "total":
            first, operator, second = cast("list[object]", tree.children)
            one = self._operand(cast("Tree[Token]", first), left=left)
            other = self._operand(cast("Tree[Token]", second), left=left)
            return _folded(one, Operator(str(operator)), other)
        token = cast("list[Token]", tree.children)[0]
        match token.type:
            case "QUOTED":
                return Text(re.sub(r"\\(.)", r"\1", token[1:-1]))
            case "QUANTITY":
                return _finite(self._quantity(token))
            case "DATE":
                return Number(self._date(token))
            case "AGO":
                count, unit = re.split(r"(?<=[\d.])\s*(?=[a-z])", token.lower().removesuffix("ago").strip())
                return _finite(self._now - float(count) * _SECONDS[unit[0]])
            case "STAR":
                return Any()
            case _:
                return self._word(str(token), left=left)

    def _word(self, word: str, *, left: bool) -> Operand:
        bare, quote, inner = word.partition('."')
        name = f"{bare}.{inner[:-1]}" if quote else word
        scope, _, rest = name.partition(".")
        is_field = left or (scope in {"current", "metrics"} and rest != "")
        if is_field and "*" in bare:
            raise BadInputError(f"{word} is no field", hint="put spaces around a * that multiplies")
        if scope == "current" and rest:
            known = rest in FIELDS or rest.partition(".")[0] in FAMILIES
            return Field(rest if known else f"metrics.{rest}", current=True)
        if is_field:
            return Field(full_name(name))
        return Text(word)

    def _quantity(self, token: Token) -> float:
        found = _QUANTITY.fullmatch(token)
        assert found is not None  # noqa: S101  # the grammar's pattern is narrower
        return float(found[1]) * _SCALES[found[2].lower()]

    def _date(self, token: Token) -> float:
        try:
            moment = datetime.fromisoformat(token.removesuffix("Z"))
        except ValueError as error:
            raise BadInputError(f"{token} is no day of the calendar", hint=_HINT) from error
        return moment.replace(tzinfo=UTC).timestamp()

    def _source(self, tree: Tree[Token]) -> str:
        return self._text[tree.meta.start_pos : tree.meta.end_pos]

    def _no_number(self, field: Field, tree: Tree[Token]) -> BadInputError:
        kind = kind_of(field.name)
        example = {Kind.TIME: "2026-11-01 or 7 days ago", Kind.BYTES: "20MiB", Kind.COUNT: "22M"}.get(kind, "0.8")
        return BadInputError(
            f"{field} is a {kind.value}, and compared with {self._source(tree)}",
            hint=f"write it as in {field} > {example}",
        )


def _folded(left: Operand, operator: Operator, right: Operand) -> Operand:
    if not (isinstance(left, Number) and isinstance(right, Number)):
        return Sum(left, operator, right)
    return _finite(calculated(left.value, operator, right.value))


def _finite(value: float) -> Number:
    """Beyond the largest number nothing can be compared, in a database or here."""
    if not math.isfinite(value):
        raise BadInputError("a number in the query is too large", hint=_HINT)
    return Number(value)


def calculated(left: float, operator: Operator, right: float) -> float:
    """One number of two."""
    match operator:
        case Operator.PLUS:
            return left + right
        case Operator.MINUS:
            return left - right
        case Operator.TIMES:
            return left * right


def _check_kind(field: Field, how: Compare, value: Operand) -> None:
    kind = kind_of(field.name)
    if isinstance(value, Any):
        if how not in {Compare.EQUAL, Compare.HAS, Compare.NOT_EQUAL}:
            raise BadInputError(f"{field} {how.value} * says nothing", hint=f"{field} = * asks whether there is any")
    elif kind is not Kind.TEXT and how is Compare.HAS:
        raise BadInputError(f"{field} is a {kind.value}, and : looks for a text in a text", hint=f"use {field} = …")
    elif kind is Kind.TEXT and how not in {Compare.EQUAL, Compare.NOT_EQUAL, Compare.HAS}:
        raise BadInputError(f"{field} is text: it has no order", hint=f'use {field} = "…" or {field} : "…"')


def _check_numbers(operand: Operand) -> None:
    for part in parts(operand):
        if isinstance(part, Any | Text) or (isinstance(part, Field) and kind_of(part.name) is Kind.TEXT):
            shown = part.text if isinstance(part, Text) else str(part) if isinstance(part, Field) else "*"
            raise BadInputError(f"{shown} is no number", hint=_HINT)
