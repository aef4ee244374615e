"""The only place that says how far a transfer to a node has come, and how long it will take: pure, from its report."""

from __future__ import annotations

from dataclasses import dataclass

from modelsyncd.ctl import shape
from modelsyncd.ctl.figures import ago, duration, local, share, size
from modelsyncd.ctl.fleet import Place
from modelsyncd.ctl.rate import shown
from modelsyncd.ctl.standing import COLOURS, progress, trouble
from modelsyncd.ctl.table import Cell, Column, Row
from modelsyncd.session.frames import Hold, Phase
from modelsyncd.wire.prices import forecast_from_pb
from modelsyncd.wire.v1 import sync_pb2

COLUMNS = (
    Column("NODE"),
    Column("MODEL"),
    Column("RELEASE", right=True),
    Column("PHASE"),
    Column("PROGRESS", right=True),
    Column("RATE", right=True),
    Column("ETA", right=True),
    Column("CAME", right=True),
    Column("RE-SENT", right=True),
    Column("SAVED"),
    Column("HELD UP"),
    Column("LAST ERROR"),
)


@dataclass(frozen=True, slots=True)
class Transfer:
    """One place, as it was seen at a time."""

    place: Place
    at: float

    @property
    def said(self) -> sync_pb2.Standing:
        """What the node last said of it, which may be nothing."""
        return self.place.standing or sync_pb2.Standing(model=self.place.model, channel=self.place.channel)

    @property
    def is_over(self) -> bool:
        """Whether the node has active what the hub wants, and says so."""
        return self.place.settled and self.said.phase == Phase.ACTIVE.value

    @property
    def phase(self) -> str:
        """Its word; "unreported" before the node has spoken of it."""
        return shape.phase(self.said.phase) if self.place.standing is not None else "unreported"

    @property
    def expected(self) -> int:
        """Payload bytes of the release in all, as the node expects; 0 for unknown."""
        return forecast_from_pb(self.said.forecast).wire if self.said.HasField("forecast") else 0

    @property
    def left(self) -> int | None:
        """Payload bytes that are yet to come; None for unknown."""
        if self.expected:
            return max(0, self.expected - self.said.bytes_wire)
        return None

    @property
    def rate(self) -> float:
        """Payload bytes a second that come now; 0 while nothing does."""
        return self.said.rate if self.place.node.online and self.hold is None else 0.0

    @property
    def seconds(self) -> float | None:
        """How long it takes at the rate of now; None while nothing comes or it is not known how much."""
        if self.left is None or not self.rate:
            return None
        return self.left / self.rate

    @property
    def hold(self) -> str | None:
        """What holds it up, as far as is known here; a node that is away holds up everything."""
        if self.is_over:
            return None
        if not self.place.node.online:
            return "offline"
        held = shape.hold(self.said.hold)
        return None if held == Hold.OFFLINE.name.lower() else held  # it is back, and has not spoken since

    @property
    def held_up(self) -> str:
        """For people: by what, and until when."""
        if self.hold is None:
            return "-"
        if self.hold == "offline":
            return f"offline, seen {ago(self.place.node.last_seen, self.at)}"
        until = self.said.hold_until
        return f"{self.hold} until {local(until)} ({ago(until, self.at)})" if until > self.at else self.hold

    @property
    def saved(self) -> str:
        """For people: the shares of the release that did not travel, or as a fraction of it."""
        said = self.said
        words = []
        if said.bytes_had:
            words.append(f"had {share(said.bytes_had, said.bytes_total)}")
        if said.bytes_coded:
            words.append(f"coded {share(said.bytes_coded, said.bytes_total)}")
        return ", ".join(words) or "-"

    @property
    def row(self) -> Row:
        """For people."""
        said = self.said
        came = size(said.bytes_wire) if said.bytes_wire else "-"
        return [
            self.place.node.name,
            f"{said.model}@{said.channel}",
            str(self.place.desired or "-"),
            Cell(self.phase, COLOURS.get(self.phase, "white")),
            progress(said),
            shown(self.rate) if self.rate else "-",
            duration(self.seconds) if self.seconds is not None else "-",
            f"{came} of {size(self.expected)}" if self.expected else came,
            size(said.bytes_resent) if said.bytes_resent else "-",
            self.saved,
            self.held_up,
            _trouble(said, self.at),
        ]


def document(transfer: Transfer) -> shape.Shape:
    """For programs."""
    place, said = transfer.place, transfer.said
    return {
        "node": place.node.name,
        "online": place.node.online,
        **shape.standing(said),
        "desired": place.desired or None,
        "phase": transfer.phase,
        "over": transfer.is_over,
        "percent": round(100 * said.bytes_done / said.bytes_total, 2) if said.bytes_total else None,
        "hold": transfer.hold,
        "rate": round(transfer.rate),
        "wire_expected": transfer.expected or None,
        "wire_left": transfer.left,
        "eta_seconds": round(transfer.seconds, 1) if transfer.seconds is not None else None,
    }


def _trouble(said: sync_pb2.Standing, now: float) -> str:
    tries = f"{said.tries} tries: " if said.tries > 1 else ""
    return f"{tries}{trouble(said, now)}" if said.HasField("fault") else "-"
