"""The only place that says how a node may use its link, and what several such wishes mean together.

Manners are wishes about bytes, not about time limits: nothing here ever gives a transfer up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelsyncd.errors import BadInputError
from modelsyncd.schedule import Opening, is_open, next_change, parse_opening

MOST_OPENINGS = 64  # openings of one node or assignment


@dataclass(frozen=True, slots=True)
class Manners:
    """How a link may be used; what is zero, empty or False limits nothing. Raises BadInputError for what can't be."""

    rate: int = 0
    """Largest rate, bytes a second of payload."""
    openings: tuple[Opening, ...] = ()
    """When bytes may travel, in the node's own time; always without any."""
    month_bytes: int = 0
    """Payload bytes in one calendar month of the node's own time."""
    paused: bool = False
    background: bool = False
    """Yields to everything else on the link."""

    def __post_init__(self) -> None:
        if self.rate < 0 or self.month_bytes < 0:
            raise BadInputError("a limit can't be negative", hint="0 takes a limit away")
        if len(self.openings) > MOST_OPENINGS:
            raise BadInputError(f"there may be {MOST_OPENINGS} openings, not {len(self.openings)}")

    @property
    def words(self) -> tuple[str, ...]:
        """The openings as people write them."""
        return tuple(map(str, self.openings))


FREE = Manners()


def manners(
    *, rate: int = 0, openings: Sequence[str] = (), month_bytes: int = 0, paused: bool = False, background: bool = False
) -> Manners:
    """From what people write. Raises BadInputError."""
    return Manners(rate, tuple(map(parse_opening, openings)), month_bytes, paused, background)


def is_dear(one: Manners) -> bool:
    """Whether bytes have their time or their price: then what can wait, waits. A rate alone makes none of them dear."""
    return one.paused or bool(one.openings) or one.month_bytes > 0


def is_closed(several: Sequence[Manners], local: datetime) -> bool:
    """Whether one of these has openings and none of them is open at this time of the node's own."""
    return any(one.openings and not is_open(one.openings, local) for one in several)


def opens_at(several: Sequence[Manners], local: datetime) -> datetime | None:
    """When all of them are open, from `local` on; None when that does not happen within two weeks."""
    at, last = local, local + timedelta(weeks=2)
    while at <= last:
        if not is_closed(several, at):
            return at
        changes = [next_change(one.openings, at) for one in several if one.openings]
        at = min(changes)
    return None
