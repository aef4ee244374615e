"""`modelsyncctl limit`: what nodes may use of their links and disks; without changes, what holds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import click

from modelsyncd.ctl import limits, pairs, whom
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.bounds import Held, held_rows, shape_of
from modelsyncd.ctl.figures import local, moment
from modelsyncd.ctl.hub import Hub, connect
from modelsyncd.ctl.limits import NONE
from modelsyncd.ctl.table import Column, table
from modelsyncd.ctl.whom import Named, whom_options
from modelsyncd.errors import BadInputError
from modelsyncd.wire.v1 import catalog_pb2
from modelsyncd.wire.v1 import limits_pb2 as pb

_SET = (Column("FOR"), Column("OF"), Column("SET"), Column("BY"), Column("WHEN"), Column("NOTE"))
_DECISIONS = (Column("WHEN"), Column("BY"), Column("WHAT"), Column("FOR"), Column("OF"), Column("SET"), Column("NOTE"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person wants changed; None and nothing stay as they are."""

    rate: str | None = None
    windows: tuple[str, ...] = ()
    budget: str | None = None
    quota: str | None = None
    background: bool | None = None
    paused: bool | None = None
    clear: bool = False

    @property
    def is_change(self) -> bool:
        """Whether anything is to be changed."""
        return self != Wanted()


@click.command("limit")
@click.argument("channel", metavar="[MODEL@CHANNEL]", required=False)
@whom_options
@click.option("--rate", metavar="RATE", help=f"The fastest that may be fetched, as in 2Mbit; or {NONE}.")
@click.option(
    "--window",
    "windows",
    multiple=True,
    metavar="TIMES",
    help='When bytes may travel, in the node\'s own time, as in "mon-fri 22:00-06:00"; repeatable; or always.',
)
@click.option("--budget", metavar="SIZE", help=f"The most that may travel in a calendar month, as in 5GB; or {NONE}.")
@click.option("--quota", metavar="SIZE", help=f"The most that versions may take of the node's disk; or {NONE}.")
@click.option("--background/--no-background", default=None, help="Yield to everything else on the link.")
@click.option("--pause/--resume", "paused", default=None, help="Fetch nothing until it is taken back.")
@click.option("--clear", is_flag=True, help="Take away first all that was set for the same.")
@click.option(
    "--anyway/--no-anyway",
    default=None,
    help="Let the release that the channel names now exceed the node's budget, once.",
)
@click.option("--history", is_flag=True, help="Show who set what, and when.")
@limits.note_option
@asked
def command(  # noqa: PLR0917 -- one for each option
    asked: Asked,
    channel: str | None,
    named: Named,
    rate: str | None,
    windows: tuple[str, ...],
    budget: str | None,
    quota: str | None,
    background: bool | None,
    paused: bool | None,
    clear: bool,
    anyway: bool | None,
    history: bool,
    note: str,
) -> None:
    """Limit what nodes may use of their links and disks; without changes, show what holds.

    With MODEL@CHANNEL a limit is for that channel alone, besides what holds for everything. Of several that reach a
    node the most specific holds: --node before --selector before --all. Changes reach connected nodes at once.
    """
    wanted = Wanted(rate, windows, budget, quota, background, paused, clear)
    if history:
        _only(wanted, anyway, "--history shows, and changes nothing")
        asked.run(_history(asked, named.only_node("--history is of everything, or of one node: --node NAME")))
    elif anyway is not None:
        _only(wanted, None, "--anyway stands alone: it is about one release, and limits are about all")
        asked.run(_consent(asked, consent_request(channel, named, note, withdraw=not anyway)))
    elif wanted.is_change:
        view = limit_view(channel, named.whom, wanted, note)
        asked.run(set_limit(asked, pb.SetLimitRequest(limit=view, replace=clear)))
    else:
        asked.run(_show(asked, limits.lane_of(channel), named))


def _only(wanted: Wanted, anyway: bool | None, why: str) -> None:
    if wanted.is_change or anyway is not None:
        raise BadInputError(why)


def limit_view(channel: str | None, target: pb.Whom, wanted: Wanted, note: str) -> pb.LimitView:
    """What is to be set. Raises BadInputError and its kind."""
    model, name = limits.lane_of(channel)
    return pb.LimitView(
        whom=target,
        model=model,
        channel=name,
        rate=None if wanted.rate is None else limits.rate_of(wanted.rate),
        windows=limits.windows_of(wanted.windows),
        month_bytes=None if wanted.budget is None else limits.size_of(wanted.budget),
        paused=wanted.paused,
        background=wanted.background,
        quota_bytes=None if wanted.quota is None else limits.size_of(wanted.quota),
        note=note,
    )


def consent_request(channel: str | None, named: Named, note: str, *, withdraw: bool) -> pb.ConsentRequest:
    """Which release may exceed which node's budget. Raises BadInputError and its kind."""
    node = named.whom.node if channel is not None else ""
    if not node:
        raise BadInputError(
            "--anyway is for one release on one node", hint="modelsyncctl limit MODEL@CHANNEL --node NAME --anyway"
        )
    model, name = limits.lane_of(channel)
    return pb.ConsentRequest(node=node, model=model, channel=name, note=note, withdraw=withdraw)


# --- changing ---


async def set_limit(asked: Asked, request: pb.SetLimitRequest) -> None:
    """Changes a limit and says what came of it, also of pauses that others have set."""
    async with connect(asked) as hub:
        answer = await hub.ask(hub.limits.SetLimit, request)
        others = await _other_pauses(hub, answer.limit) if _resumes(request) else []
    document = {"limit": limits.limit(answer.limit), "changed": answer.changed}
    document["still_paused"] = [limits.limit(other) for other in others]
    asked.answer(document, set_text(answer, others))


def _resumes(request: pb.SetLimitRequest) -> bool:
    return request.limit.HasField("paused") and not request.limit.paused


async def _other_pauses(hub: Hub, limit: pb.LimitView) -> list[pb.LimitView]:
    """Pauses that still hold for nodes that this limit reaches."""
    found = (await hub.ask(hub.limits.ListLimits, pb.ListLimitsRequest(node=limit.whom.node))).limits
    same = (other for other in found if not other.model or (other.model, other.channel) == (limit.model, limit.channel))
    return [other for other in same if other.paused and set(other.nodes) & set(limit.nodes)]


def set_text(answer: pb.SetLimitResponse, others: Sequence[pb.LimitView]) -> str:
    """For people."""
    view = answer.limit
    where = f"{whom.words(view.whom)}, {limits.ref_of(view.model, view.channel)}"
    said = limits.limit_words(view)
    lines = [
        f"{'Set' if answer.changed else 'So already'} for {where}: {said} ({limits.reached(view.nodes)}).",
        *(f"Still paused {_by(other)}. To go on: {limits.resume_command(other)}" for other in others),
    ]
    return "\n".join(lines)


def _by(view: pb.LimitView) -> str:
    where = f"{whom.words(view.whom)}, {limits.ref_of(view.model, view.channel)}"
    return f"by {view.who} for {where}, since {local(view.at)}"


async def _consent(asked: Asked, request: pb.ConsentRequest) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.limits.Consent, request)
    document = {"consent": limits.consent(answer.consent), "changed": answer.changed}
    asked.answer(document, consent_text(answer, withdraw=request.withdraw))


def consent_text(answer: pb.ConsentResponse, *, withdraw: bool) -> str:
    """For people."""
    what = f"{answer.consent.model}:{answer.consent.number}"
    if withdraw:
        words = "keeps to" if answer.changed else "kept to"
        return f"Node {answer.consent.node} {words} its budget for {what}."
    again = "" if answer.changed else f" already, as {answer.consent.who} said {local(answer.consent.at)}"
    return f"Node {answer.consent.node} may exceed its budget for {what}{again}. Later releases wait as before."


# --- showing ---


async def _show(asked: Asked, lane: tuple[str, str], named: Named) -> None:
    node, selector = named.node or "", pairs.labels(named.selector)
    async with connect(asked) as hub:
        found = await hub.ask(hub.limits.ListLimits, pb.ListLimitsRequest(node=node))
        nodes = (await hub.ask(hub.catalog.ListNodes, catalog_pb2.ListNodesRequest(selector=selector))).nodes
    now = time.time()
    known = {one.name: one for one in nodes}
    held = [row for view in found.nodes if view.node in known for row in held_rows(view, known[view.node], now)]
    held = [row for row in held if node or row.is_limited]
    rows = list(found.limits)
    if selector:
        rows = [view for view in rows if set(view.nodes) & known.keys()]
    if lane[0]:
        rows = [view for view in rows if (view.model, view.channel) == lane]
        held = [one for one in held if (one.model, one.channel) == lane]
    asked.answer(
        {"limits": [limits.limit(view) for view in rows], "nodes": [shape_of(one) for one in held]},
        show_text(rows, held, now),
    )


def show_text(rows: Sequence[pb.LimitView], held: Sequence[Held], now: float) -> str:
    """For people: what was set, and what that comes to."""
    if not rows and not held:
        return "Nothing is limited. For example: modelsyncctl limit --all --rate 2Mbit"
    parts = [table(_SET, [_set_row(view, now) for view in rows])] if rows else []
    if held:
        parts.append(table(Held.COLUMNS, [one.row for one in held]))
    return "\n\n".join(parts)


def _set_row(view: pb.LimitView, now: float) -> list[str]:
    return [
        whom.words(view.whom),
        limits.ref_of(view.model, view.channel),
        limits.limit_words(view),
        view.who,
        moment(view.at, now),
        view.note or "-",
    ]


async def _history(asked: Asked, node: str) -> None:
    async with connect(asked) as hub:
        found = await hub.ask(hub.limits.ListDecisions, pb.ListDecisionsRequest(node=node))
    asked.answer(
        {"decisions": [limits.decision(view) for view in found.decisions]}, history_text(found.decisions, time.time())
    )


def history_text(decisions: Sequence[pb.DecisionView], now: float) -> str:
    """For people, newest first."""
    if not decisions:
        return "Nobody has limited or pinned anything yet."
    rows = [
        [
            moment(view.at, now),
            view.who,
            view.kind,
            whom.words(view.whom),
            view.ref or "everything",
            view.what or "-",
            view.note or "-",
        ]
        for view in decisions
    ]
    return table(_DECISIONS, rows)
