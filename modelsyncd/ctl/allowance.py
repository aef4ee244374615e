"""The only place that says what a node's limits mean for one transfer: how long it takes, and whether it may."""

from __future__ import annotations

from dataclasses import dataclass

from modelsyncd.ctl import limits
from modelsyncd.ctl.figures import ago, count, duration, local, size, utc
from modelsyncd.ctl.nodeclock import NodeClock
from modelsyncd.ctl.rate import shown
from modelsyncd.wire.desired import manners_from_pb
from modelsyncd.wire.v1 import catalog_pb2 as pb

_DAY = 24 * 3600


@dataclass(frozen=True, slots=True)
class Allowance:
    """A plan for a node beside that node's limits, at a time (seconds since 1970)."""

    plan: pb.TransferPlan
    now: float

    @property
    def clock(self) -> NodeClock:
        """The node's."""
        return NodeClock(self.plan.utc_offset, self.now)

    @property
    def cap(self) -> int:
        """The lowest of its rates, bytes a second; 0 for none."""
        return min([one.rate for one in self.plan.manners if one.rate], default=0)

    @property
    def seconds(self) -> float:
        """How long it takes on the link and within the rates; 0 while neither is known."""
        return max(self.plan.seconds, self.plan.bytes_wire / self.cap if self.cap else 0.0)

    @property
    def opens_at(self) -> float | None:
        """When bytes may travel: 0 for now, None for never."""
        return self.clock.opens([manners_from_pb(one) for one in self.plan.manners])

    @property
    def budget(self) -> int:
        """Payload bytes of a month; 0 for any. A channel's own is not counted by the hub, only its size is known."""
        return min([one.month_bytes for one in self.plan.manners if one.month_bytes], default=0)

    @property
    def left(self) -> int | None:
        """Of the node's month; None without a budget."""
        overall = self.plan.manners[0].month_bytes if self.plan.manners else 0
        own = [one.month_bytes for one in self.plan.manners[1:] if one.month_bytes]
        spent = self.clock.spent(self.plan.month, self.plan.month_wire)
        lefts = [*([max(0, overall - spent)] if overall else []), *own]
        return min(lefts) if lefts else None

    @property
    def fits_month(self) -> bool | None:
        """Whether it may begin this month; None without a budget."""
        if self.left is None:
            return None
        return self.plan.consented or self.plan.bytes_wire <= self.left

    @property
    def fits_quota(self) -> bool | None:
        """Whether nothing must go for it; None without a quota."""
        if not self.plan.quota_bytes:
            return None
        return self.plan.disk_used + self.plan.disk_bytes <= self.plan.quota_bytes


def lines(allowance: Allowance) -> list[tuple[str, str]]:
    """For people: a name and its value each; none where nothing is limited."""
    plan = allowance.plan
    held = [words for one in plan.manners if (words := limits.manners_words(one)) != limits.NO_LIMIT]
    found = [("limits", "; besides ".join(held))] if held else []
    if allowance.left is not None:
        found.append(("month", _month(allowance)))
    if allowance.opens_at != 0.0:
        found.append(("window", _window(allowance)))
    if allowance.fits_quota is not None:
        room = "fits" if allowance.fits_quota else "older versions must go first"
        found.append(("quota", f"{size(plan.disk_used)} of {size(plan.quota_bytes)} taken: {room}"))
    return found


def time_words(allowance: Allowance) -> str:
    """How long it takes, and what decides that."""
    plan, cap = allowance.plan, allowance.cap
    if not allowance.seconds:
        return "unknown: say what the link carries with --rate"
    by_cap = cap and plan.bytes_wire / cap >= plan.seconds
    limit = f"{shown(cap)}, its limit" if by_cap else shown(plan.rate)
    unsure = "at least " if by_cap and not plan.rate else ""
    return f"{unsure}{duration(allowance.seconds)} at {limit}, coded {plan.effort}"


def notes(allowance: Allowance, lane: str, node: str) -> list[str]:
    """What somebody must know before it begins, with what to type."""
    if allowance.fits_month is not False:
        return []
    over = allowance.plan.bytes_wire - (allowance.left or 0)
    words = f"It waits: it takes {size(over)} more than is left of the month."
    return [f"{words} To let it anyway: modelsyncctl limit {lane} --node {node} --anyway"]


def document(allowance: Allowance) -> dict[str, object]:
    """For programs."""
    plan = allowance.plan
    return {
        "manners": [limits.manners(one) for one in plan.manners],
        "seconds": round(allowance.seconds, 3) or None,
        "open": allowance.opens_at == 0.0,
        "opens_at": utc(allowance.opens_at or 0.0),
        "month_wire": allowance.clock.spent(plan.month, plan.month_wire) if plan.month else None,
        "month_left": allowance.left,
        "fits_month": allowance.fits_month,
        "consented": plan.consented,
        "quota_bytes": plan.quota_bytes or None,
        "disk_used": plan.disk_used,
        "fits_quota": allowance.fits_quota,
    }


def _month(allowance: Allowance) -> str:
    left = f"{size(allowance.left or 0)} of {size(allowance.budget)} left of {allowance.clock.month}"
    days = int((allowance.clock.next_month - allowance.now) // _DAY)
    if allowance.plan.consented:
        return f"{left}; it may be exceeded for this release"
    verdict = "it fits" if allowance.fits_month else f"it does not fit; the next begins in {count(days, 'day')}"
    return f"{left}: {verdict}"


def _window(allowance: Allowance) -> str:
    if allowance.opens_at is None:
        return "closed, and none opens within two weeks"
    assumed = "" if allowance.clock.known else ", if its clock is like this machine's"
    return f"closed until {local(allowance.opens_at)} here ({ago(allowance.opens_at, allowance.now)}{assumed})"
