"""The only place that says what a limit may set, and what several of them come to: pure values.

Of what was set for a node, the most specific holds, field by field: what names the node goes before what names labels,
more labels before fewer, any labels before every node, and of two that are alike the later one. A pause is an order
and not a setting: it holds as long as any limit that reaches the node says so. See docs/adr/0016-limits-combine.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from cloud_hub.catalog.whom import Whom
from modelsyncd.errors import LimitError
from modelsyncd.manners import Manners
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.schedule import Opening
from modelsyncd.sizes import MOST

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is set in one place; None was not set there. Raises LimitError, BadInputError for what can't be."""

    rate: int | None = None
    """Bytes a second; 0 for any."""
    openings: tuple[Opening, ...] | None = None
    """Empty for always."""
    month_bytes: int | None = None
    """Payload bytes; 0 for any."""
    paused: bool | None = None
    background: bool | None = None
    quota: int | None = None
    """Bytes of disk; 0 for what the node's own settings say."""

    def __post_init__(self) -> None:
        for value in (self.rate, self.month_bytes, self.quota):
            if value is not None and value > MOST:
                raise LimitError(f"{value} is more than any limit can be", hint="0 takes a limit away")
        Manners(self.rate or 0, self.openings or (), self.month_bytes or 0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is set."""
        return self == Terms()

    def changed_by(self, wanted: Terms) -> Terms:
        """With what is set there; a pause that is taken back is no more set at all."""
        given = {each.name: getattr(wanted, each.name) for each in fields(wanted)}
        changed = replace(self, **{name: value for name, value in given.items() if value is not None})
        return replace(changed, paused=changed.paused or None)

    def __str__(self) -> str:
        """As in "rate=250000 windows=22:00-06:00;sat paused=yes"."""
        words = {
            "rate": self.rate,
            "windows": None if self.openings is None else ";".join(map(str, self.openings)) or "always",
            "month": self.month_bytes,
            "paused": _yes(self.paused),
            "background": _yes(self.background),
            "quota": self.quota,
        }
        return " ".join(f"{name}={value}" for name, value in words.items() if value is not None)


@dataclass(frozen=True, slots=True)
class LimitRow:
    """What is set for some nodes: for all that they fetch, or (with `model`) for one channel that they follow."""

    whom: Whom
    terms: Terms
    model: ModelName | None = None
    channel: str = ""
    who: str = ""
    at: float = 0.0
    note: str = ""

    @property
    def ref(self) -> str:
        """The model with its channel; empty for all that the nodes fetch."""
        return "" if self.model is None else str(ModelRef(self.model, channel=self.channel))


def combined(limits: Iterable[LimitRow]) -> tuple[Manners, int]:
    """What several limits that reach one node come to, all of them for the same; and the quota, 0 for none."""
    ranked = sorted(limits, key=lambda row: (-row.whom.weight, -row.at, sorted(row.whom.selector.items())))
    terms = [row.terms for row in ranked]
    manners = Manners(
        rate=_first((each.rate for each in terms), 0),
        openings=_first((each.openings for each in terms), ()),
        month_bytes=_first((each.month_bytes for each in terms), 0),
        paused=any(each.paused for each in terms),
        background=_first((each.background for each in terms), False),
    )
    return manners, _first((each.quota for each in terms), 0)


def _first(values: Iterable[T | None], default: T) -> T:
    return next((value for value in values if value is not None), default)


def _yes(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"
