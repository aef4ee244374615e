"""The only place that says why a channel stands on a node where it does: pure, from the hub's word and the report.

Blocks come in the order in which somebody would take them away: without an assignment, a release and a session nothing
else matters; then what people have said, the hour and the budget; then what goes wrong by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from modelsyncd.ctl import limits, shape, whom
from modelsyncd.ctl.figures import ago, duration, local, size
from modelsyncd.ctl.nodeclock import NodeClock
from modelsyncd.ctl.transfers import Transfer
from modelsyncd.errors import NoVariantError
from modelsyncd.fitting import best_variant, misfits
from modelsyncd.session.frames import Hold, Phase
from modelsyncd.wire.desired import manners_from_pb
from modelsyncd.wire.prices import forecast_from_pb
from modelsyncd.wire.v1 import catalog_pb2, sync_pb2
from modelsyncd.wire.v1 import limits_pb2 as pb


@dataclass(frozen=True, slots=True)
class Case:
    """All that is known of one channel on one node. `release` is None while the channel names none.

    `set_for` are the limits that reach the node; `bounds` is what they come to there.
    """

    transfer: Transfer
    assigned: bool = True
    release: catalog_pb2.ReleaseView | None = None
    set_for: Sequence[pb.LimitView] = ()
    bounds: pb.NodeLimits = field(default_factory=pb.NodeLimits)

    @property
    def lane(self) -> str:
        """As in "acme/helmet@stable"."""
        return f"{self.transfer.place.model}@{self.transfer.place.channel}"

    @property
    def node(self) -> catalog_pb2.NodeView:
        """The node."""
        return self.transfer.place.node

    @property
    def clock(self) -> NodeClock:
        """The node's."""
        return NodeClock(self.node.report.utc_offset, self.transfer.at)

    @property
    def own(self) -> pb.ChannelLimits:
        """What holds for this channel besides what holds for everything."""
        mine = (one for one in self.bounds.channels if f"{one.model}@{one.channel}" == self.lane)
        return next(mine, pb.ChannelLimits())


@dataclass(frozen=True, slots=True)
class Block:
    """Something that is in the way: a word for programs, a sentence, since and until when (seconds since 1970; 0 for
    unknown), and what to type or do.
    """

    kind: str
    text: str
    do: str = ""
    since: float = 0.0
    until: float = 0.0


def blocks(case: Case) -> list[Block]:
    """All that is in the way; nothing when it is over, or under way."""
    first = next(_missing(case), None)
    if first is not None:
        return [first]
    if case.transfer.is_over:
        return []
    said = case.transfer.said
    if said.phase == Phase.ROLLED_BACK.value and said.desired == case.transfer.place.desired:
        return [_rolled_back(case)]
    return [*_away(case), *_ordered(case), *_by_hour(case), *_by_budget(case), *_by_others(case), *_went_wrong(case)]


def outlook(case: Case, found: Sequence[Block]) -> str:
    """What happens next if nobody does anything."""
    transfer = case.transfer
    if not found and transfer.is_over:
        return "Nothing: it is active, and the hub wants no other release."
    if found:
        return _after(found[0], transfer.at)
    if transfer.seconds is not None:
        return f"It is here in about {duration(transfer.seconds)}, and is activated then."
    if transfer.said.phase == Phase.CONFIRMING.value:
        return "It is switched to, and has to prove itself: it stays, or the one before is back by itself."
    if transfer.said.phase in (Phase.VERIFIED.value, Phase.STAGED.value):
        return "It is whole on the node, and is activated next."
    return "Nothing is known to be in its way: it goes on by itself. Look again: modelsyncctl transfers"


def _after(block: Block, now: float) -> str:
    if block.until > now:
        return f"It goes on by itself {ago(block.until, now)}, {local(block.until)}."
    return {
        "offline": "It goes on by itself when the node is back, from what is durable there.",
        "quote": "It goes on by itself when the hub has worked it out.",
        "priority": "It goes on by itself when that is done.",
        "unheard": "The node is told at once when it listens, and begins by itself.",
        "error": "It is tried again when the hub names another release, or somebody has put right what is wrong.",
        "rolled-back": "It is not tried again there by itself: it waits for another release, or for somebody's word.",
        "window": "It waits until its windows are changed: none of them opens.",
    }.get(block.kind, "It waits until that is changed.")


def _rolled_back(case: Case) -> Block:
    fault = case.transfer.said.fault
    text = fault.message or f"release {case.transfer.said.desired} did not prove itself on this node"
    safe = f". Safe: {fault.safe}" if fault.safe else ""
    again = f"modelsyncctl retry {case.lane} --node {case.node.name}"
    return Block("rolled-back", f"{text}{safe}", again, case.transfer.said.since)


# --- without these, nothing else matters ---


def _missing(case: Case) -> Iterator[Block]:
    node, place = case.node.name, case.transfer.place
    if not case.assigned:
        yield Block(
            "unassigned", f"nothing has {node} follow {case.lane}", f"modelsyncctl assign {case.lane} --node {node}"
        )
    if not case.node.enrolled_at:
        yield Block("not-enrolled", f"{node} was invited and has never come", f"modelsyncctl node invite {node}")
    if case.release is None:
        yield Block(
            "no-release",
            f"the channel {place.channel} of {place.model} names no release",
            f"modelsyncctl promote {place.model}:NUMBER {place.channel}",
        )
    elif why := _unfit(case.release, case.node):
        yield Block(
            NoVariantError.code,
            f"no variant of {place.model}:{case.release.number} fits {node}: {'; '.join(why)}",
            f"modelsyncctl push PATH {case.lane} --variant NAME --add-to {place.model}:{case.release.number}",
        )


def _unfit(release: catalog_pb2.ReleaseView, node: catalog_pb2.NodeView) -> list[str]:
    """What keeps each variant from a node; nothing when one fits."""
    variants, labels = shape.opened(release).variants, dict(node.labels)
    facts = {fact.name: tuple(fact.values) for fact in node.facts}
    if best_variant(variants, labels, facts) is not None:
        return []
    return [f"{variant.name}: {', '.join(misfits(variant.selector, labels, facts))}" for variant in variants]


def _away(case: Case) -> Iterator[Block]:
    node, transfer = case.node, case.transfer
    if not node.online:
        seen = local(node.last_seen) if node.last_seen else "never"
        do = f"on {node.name}: systemctl status modelsync-agent; journalctl -u modelsync-agent"
        text = f"{node.name} is in no session with the hub; it was last heard {seen}"
        yield Block("offline", text, do, node.last_seen)
    elif not transfer.said.HasField("fault") and transfer.said.desired != transfer.place.desired:
        yield Block("unheard", f"{node.name} has not spoken of release {transfer.place.desired} yet")


# --- what people have said ---


def _ordered(case: Case) -> Iterator[Block]:
    for row in case.set_for:
        if row.paused and (not row.model or f"{row.model}@{row.channel}" == case.lane):
            why = f": {row.note}" if row.note else ""
            what = limits.ref_of(row.model, row.channel)
            text = f"{row.who} paused {what} for {whom.words(row.whom)}{why}"
            yield Block("paused", text, limits.resume_command(row), since=row.at)


def _by_hour(case: Case) -> Iterator[Block]:
    several = [manners_from_pb(one) for one in (case.bounds.manners, case.own.manners)]
    opens = case.clock.opens(several)
    if opens == 0.0:
        return
    closed = [one for one in several if one.openings and case.clock.opens([one]) != 0.0]
    words = " and ".join(", ".join(one.words) for one in closed)
    lane = "" if several[0] in closed else f" {case.lane}"
    yield Block(
        "window",
        f"bytes may travel {words} only, and it is {case.clock.shown} at {case.node.name}",
        f"modelsyncctl limit{lane} --node {case.node.name} --window always",
        _since(case, Hold.WINDOW),
        opens or 0.0,
    )


def _by_budget(case: Case) -> Iterator[Block]:
    if case.own.HasField("consent"):
        return
    report, waits = case.node.report, case.transfer.said.hold == Hold.BUDGET.value
    needed = case.transfer.left
    overall, own = case.bounds.manners.month_bytes, case.own.manners.month_bytes
    left = overall - case.clock.spent(report.month, report.month_wire)
    exceeds = bool(overall and needed is not None and needed > left)
    if not (waits or exceeds):
        return
    takes = "its size is not known yet" if needed is None else f"it takes {size(needed)} more"
    budgets = [f"{size(max(0, left))} of {size(overall)} are left of {case.clock.month}"] if overall else []
    budgets += [f"the channel has {size(own)} a month"] if own else []
    fits = overall and needed is not None and needed <= overall
    yield Block(
        "budget",
        f"{takes}, and {', '.join(budgets) or 'its budget is spent'}",
        f"modelsyncctl limit {case.lane} --node {case.node.name} --anyway",
        _since(case, Hold.BUDGET),
        case.transfer.said.hold_until if waits else case.clock.next_month if fits else 0.0,
    )


# --- what happens by itself ---


def _by_others(case: Case) -> Iterator[Block]:
    held = case.transfer.hold
    if held == "priority":
        others = [
            f"{one.model}@{one.channel}"
            for one in case.node.report.standings
            if one.phase == Phase.FETCHING.value and f"{one.model}@{one.channel}" != case.lane
        ]
        do = f"modelsyncctl assign {case.lane} --node {case.node.name} --priority N"
        words = ", ".join(others) or "something more urgent"
        yield Block("priority", f"{words} goes first on this node", do, _since(case, Hold.PRIORITY))
    elif held == "quote":
        yield Block("quote", "the hub is working out what it takes", since=_since(case, Hold.QUOTE))


def _went_wrong(case: Case) -> Iterator[Block]:
    said = case.transfer.said
    if said.HasField("fault"):
        fault = said.fault
        tries = f" ({said.tries} times in a row)" if said.tries > 1 else ""
        safe = f". Safe: {fault.safe}" if fault.safe else ""
        since = said.since if said.phase in (Phase.FAILED.value, Phase.REFUSED.value) else 0.0
        yield Block("error", f"{fault.message}{tries}{safe}", fault.hint, since, said.next_try)
        return
    report, disk = case.node.report, forecast_from_pb(said.forecast).disk
    if report.disk_free and disk > report.disk_free:
        text = f"it needs {size(disk)} of disk, and {size(report.disk_free)} are free"
        yield Block("disk", text, f"make room on {case.node.name}; versions that nobody follows go by themselves")
    elif report.quota_bytes and report.disk_used + disk > report.quota_bytes:
        text = f"it needs {size(disk)} of disk; {size(report.disk_used)} of the quota of "
        yield Block(
            "quota",
            f"{text}{size(report.quota_bytes)} are taken, so older versions must go first",
            f"modelsyncctl limit --node {case.node.name} --quota SIZE, or modelsyncctl pin --node {case.node.name}",
        )


def _since(case: Case, hold: Hold) -> float:
    said: sync_pb2.Standing = case.transfer.said
    return said.since if said.hold == hold.value else 0.0
