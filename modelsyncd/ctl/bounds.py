"""The only place that shows what holds on a node, with what is left of its month and its disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from modelsyncd.ctl import limits, shape
from modelsyncd.ctl.figures import local, size, utc
from modelsyncd.ctl.nodeclock import TOO_OLD, NodeClock, knows_limits
from modelsyncd.ctl.table import Column
from modelsyncd.wire.desired import manners_from_pb
from modelsyncd.wire.v1 import catalog_pb2, sync_pb2
from modelsyncd.wire.v1 import limits_pb2 as pb


@dataclass(frozen=True, slots=True)
class Held:
    """What holds on a node for everything (empty `model`) or for one channel; bytes, None for unknown or no limit.

    `opens_at` is seconds since 1970, 0 for open now, None for never.
    """

    COLUMNS: ClassVar = (
        Column("NODE"),
        Column("OF"),
        Column("HOLDS"),
        Column("THIS MONTH", right=True),
        Column("LEFT", right=True),
        Column("QUOTA", right=True),
        Column("USED", right=True),
        Column("PINNED"),
    )

    node: str
    model: str
    channel: str
    manners: sync_pb2.Manners
    opens_at: float | None = 0.0
    spent: int | None = None
    quota: int = 0
    used: int | None = None
    pins: tuple[str, ...] = ()
    consent: pb.ConsentView | None = None
    heeded: bool = True
    """Whether the node's agent knows limits at all."""

    @property
    def left(self) -> int | None:
        """Of the month's bytes."""
        if not self.manners.month_bytes or self.spent is None:
            return None
        return max(0, self.manners.month_bytes - self.spent)

    @property
    def is_limited(self) -> bool:
        """Whether anything holds."""
        return bool(self.model or self.quota or self.pins) or self.manners != sync_pb2.Manners()

    @property
    def row(self) -> list[str]:
        """For people."""
        return [
            self.node,
            limits.ref_of(self.model, self.channel),
            "; ".join(self._words()),
            "-" if self.spent is None else size(self.spent),
            "-" if self.left is None else size(self.left),
            size(self.quota) if self.quota else "-",
            "-" if self.used is None else size(self.used),
            " ".join(self.pins) or "-",
        ]

    def _words(self) -> list[str]:
        words = [limits.manners_words(self.manners)]
        if not self.heeded and self.is_limited:
            words.append(TOO_OLD)
        if self.opens_at is None:
            words.append("closed")
        elif self.opens_at:
            words.append(f"closed until {local(self.opens_at)}")
        if self.consent is not None:
            words.append(f"{self.consent.model}:{self.consent.number} anyway, by {self.consent.who}")
        return words


def held_rows(view: pb.NodeLimits, node: catalog_pb2.NodeView, now: float) -> list[Held]:
    """What holds on a node: a row for everything, and one for each channel that is limited besides."""
    report = node.report
    clock = NodeClock(report.utc_offset, now)
    spoke = node.HasField("report")
    heeded = not spoke or knows_limits(report)

    def opens(*several: sync_pb2.Manners) -> float | None:
        return clock.opens([manners_from_pb(one) for one in several])

    overall = Held(
        view.node,
        "",
        "",
        view.manners,
        opens(view.manners),
        clock.spent(report.month, report.month_wire) if spoke else None,
        view.quota_bytes,
        report.disk_used if spoke else None,
        tuple(view.pins),
        heeded=heeded,
    )
    rows = [
        Held(
            view.node,
            one.model,
            one.channel,
            one.manners,
            opens(one.manners),
            consent=one.consent if one.HasField("consent") else None,
            heeded=heeded,
        )
        for one in view.channels
    ]
    return [overall, *rows]


def shape_of(held: Held) -> shape.Shape:
    """For programs."""
    return {
        "node": held.node,
        "model": held.model or None,
        "channel": held.channel or None,
        **limits.manners(held.manners),
        "open": held.opens_at == 0.0,
        "opens_at": utc(held.opens_at or 0.0),
        "month_wire": held.spent,
        "month_left": held.left,
        "quota_bytes": held.quota or None,
        "disk_used": held.used,
        "pins": list(held.pins),
        "consent": limits.consent(held.consent) if held.consent is not None else None,
        "heeded": held.heeded,
    }
