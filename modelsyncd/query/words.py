"""The only place that says what a query is once it is read: conditions over what a release is found by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Compare(StrEnum):
    """How two things are compared. HAS is written ":": a text that contains another, whatever the case of A to Z."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    HAS = ":"


@dataclass(frozen=True, slots=True)
class Field:
    """What is compared: `name` in full, as in "format", "labels.task", "metrics.precision".

    `current` is set where a rule speaks of the release that its channel names now, and not of the one that is judged.
    """

    name: str
    current: bool = False

    def __str__(self) -> str:
        return f"current.{self.name}" if self.current else self.name


@dataclass(frozen=True, slots=True)
class Text:
    """Words to compare with; a `*` in them stands for any run of characters when they are compared with "="."""

    text: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number; of bytes for sizes, of seconds since 1970-01-01 UTC for times."""

    value: float


@dataclass(frozen=True, slots=True)
class Any:
    """A lone `*`: whatever is there."""


class Operator(StrEnum):
    """What is done with two numbers."""

    PLUS = "+"
    MINUS = "-"
    TIMES = "*"


@dataclass(frozen=True, slots=True)
class Sum:
    """Two numbers made one; only rules have fields in them."""

    left: Operand
    operator: Operator
    right: Operand


Operand = Field | Text | Number | Any | Sum


@dataclass(frozen=True, slots=True)
class Comparison:
    """True for a release when any of its values of `field` compares so."""

    field: Operand
    how: Compare
    value: Operand


@dataclass(frozen=True, slots=True)
class Not:
    """True when the condition is not."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class And:
    """True when all conditions are; true of none."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """True when one of the conditions is."""

    conditions: tuple[Condition, ...]


Condition = Comparison | Not | And | Or

EVERYTHING = And(())
"""What an empty query asks for."""
