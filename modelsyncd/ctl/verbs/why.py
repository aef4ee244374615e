"""`modelsyncctl why`: one page on where a channel stands on a node, what is in its way, and what happens next."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import click

from modelsyncd.ctl import limits, outboxes, shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import ago, duration, local, moment, size, utc
from modelsyncd.ctl.fleet import Place
from modelsyncd.ctl.hub import Hub, connect
from modelsyncd.ctl.nodeclock import TOO_OLD, knows_limits
from modelsyncd.ctl.rate import shown
from modelsyncd.ctl.reasons import Block, Case, blocks, outlook
from modelsyncd.ctl.standing import progress
from modelsyncd.ctl.table import fields
from modelsyncd.ctl.transfers import Transfer, document
from modelsyncd.errors import BadInputError, NotFoundError
from modelsyncd.exchange import past
from modelsyncd.names import DEFAULT_CHANNEL, ModelRef, parse_node, parse_ref
from modelsyncd.wire.prices import forecast_from_pb
from modelsyncd.wire.v1 import catalog_pb2
from modelsyncd.wire.v1 import limits_pb2 as pb


@dataclass(frozen=True, slots=True)
class Page:
    """A case with the last move of its channel, None when there was none."""

    case: Case
    move: catalog_pb2.Move | None


@click.command("why")
@click.argument("node")
@click.argument("channel", metavar="MODEL[@CHANNEL]")
@asked
def command(asked: Asked, node: str, channel: str) -> None:
    """Explain why a node has, or does not have, what a channel names.

    Without @CHANNEL it is the one that the node follows.
    """
    ref = parse_ref(channel)
    if ref.number is not None:
        raise BadInputError(
            f"nodes follow channels, not numbers like {ref.number}",
            hint=f"modelsyncctl why {node} {ref.model}",
        )
    asked.run(_why(asked, parse_node(node), ref))


async def _why(asked: Asked, node: str, ref: ModelRef) -> None:
    async with connect(asked) as hub:
        page = await look(hub, node, ref)
    asked.answer(describe(page), text(page))


async def look(hub: Hub, name: str, ref: ModelRef) -> Page:
    """All that the hub knows of it. Raises NotFoundError for a node that is not there."""
    node = (await hub.ask(hub.catalog.GetNode, catalog_pb2.GetNodeRequest(name=name))).node
    following = await hub.ask(hub.catalog.ListAssignments, catalog_pb2.ListAssignmentsRequest(node=name))
    found = await hub.ask(hub.limits.ListLimits, pb.ListLimitsRequest(node=name))
    channel = ref.channel or _followed(name, ref, following.assignments)
    release, move = await _named(hub, ModelRef(ref.model, channel=channel))
    model = str(ref.model)
    said = [one for one in node.report.standings if (one.model, one.channel) == (model, channel)]
    place = Place(node, model, channel, release.number if release is not None else 0, said[0] if said else None)
    case = Case(
        Transfer(place, time.time()),
        any((one.model, one.channel) == (model, channel) for one in following.assignments),
        release,
        list(found.limits),
        found.nodes[0] if found.nodes else pb.NodeLimits(),
    )
    return Page(case, move)


def _followed(node: str, ref: ModelRef, following: Sequence[catalog_pb2.AssignmentView]) -> str:
    channels = sorted({one.channel for one in following if one.model == str(ref.model)})
    if len(channels) > 1:
        named = " or ".join(f"{ref.model}@{channel}" for channel in channels)
        raise BadInputError(
            f"node {node} follows {len(channels)} channels of {ref.model}",
            hint=f"name one: modelsyncctl why {node} {named}",
        )
    return channels[0] if channels else DEFAULT_CHANNEL


async def _named(hub: Hub, ref: ModelRef) -> tuple[catalog_pb2.ReleaseView | None, catalog_pb2.Move | None]:
    """The release that a channel names, and the move that had it do so."""
    try:
        release = await hub.release(str(ref))
        async for page in past.pages(past.asking(hub), ref.model, past.PAGE):
            for move in page.moves:
                if move.channel == ref.channel and move.to_number == release.number:
                    return release, move
    except NotFoundError:
        return None, None
    return release, None


def describe(page: Page) -> dict[str, object]:
    """For programs."""
    case = page.case
    found = blocks(case)
    return {
        **document(case.transfer),
        "assigned": case.assigned,
        "move": shape.move(page.move) if page.move is not None else None,
        "blocked": [
            {
                "kind": block.kind,
                "text": block.text,
                "since": utc(block.since),
                "until": utc(block.until),
                "do": block.do or None,
            }
            for block in found
        ],
        "next": outlook(case, found),
        "outbox": outboxes.document(case.node, case.transfer.place.model),
    }


def text(page: Page) -> str:
    """For people: one page."""
    case = page.case
    now, found = case.transfer.at, blocks(case)
    lines = [
        ("desired", _desired(page)),
        ("active", _active(case)),
        ("stands", _stands(case)),
        *_expected(case.transfer),
        *_limited(case),
        *(("goes up", line.strip()) for line in outboxes.lines([case.node], now, case.transfer.place.model)),
    ]
    parts = [f"{case.lane} on {case.node.name}", fields(lines)]
    parts += [fields(_block(number, block, now)) for number, block in enumerate(found)]
    return "\n\n".join([*parts, fields([("next", outlook(case, found))])])


def _desired(page: Page) -> str:
    number, move = page.case.transfer.place.desired, page.move
    if not number:
        return "nothing"
    said = page.case.transfer.said
    which = f"{number} {said.variant}".strip() if said.desired == number else str(number)
    return f"{which} ({move.why} by {move.who}, {moment(move.at, page.case.transfer.at)})" if move else which


def _active(case: Case) -> str:
    said = case.transfer.said
    return f"{said.active} {said.active_variant}".strip() if said.active else "nothing"


def _stands(case: Case) -> str:
    transfer = case.transfer
    said, now = transfer.said, transfer.at
    far = f", {progress(said)} here" if said.bytes_total and not transfer.is_over else ""
    since = f", since {moment(said.since, now)}" if said.since else ""
    speed = f", {shown(transfer.rate)}" if transfer.rate else ""
    heard = "" if case.node.online or not said.phase else f"; that was its last word, {ago(case.node.last_seen, now)}"
    return f"{transfer.phase}{far}{speed}{since}{heard}"


def _expected(transfer: Transfer) -> list[tuple[str, str]]:
    said = transfer.said
    if not said.HasField("forecast") or transfer.is_over:
        return []
    expected = forecast_from_pb(said.forecast)
    priced = expected.priced
    ways = [
        *([f"{size(expected.had)} were there"] if expected.had else []),
        *([f"{size(priced.coded)} coded as {size(priced.coded_wire)}"] if priced.coded else []),
        *([f"{size(priced.alone)} plainly as {size(priced.alone_wire)}"] if priced.alone else []),
        *([f"{size(priced.left)} guessed"] if priced.left else []),
    ]
    made = f"made {ago(expected.made_at, transfer.at)}" if expected.made_at else "made"
    again = f", for the {expected.revision}th time" if expected.revision > 3 else ""
    takes = f" ({duration(expected.seconds)} at {shown(expected.rate)})" if expected.rate else ""
    twice = f", of which {size(said.bytes_resent)} came twice" if said.bytes_resent else ""
    return [
        ("expected", f"{size(expected.wire)} on the wire{takes}: {', '.join(ways) or 'nothing'}; {made}{again}"),
        ("came", f"{size(said.bytes_wire)}{twice}"),
    ]


def _limited(case: Case) -> list[tuple[str, str]]:
    words = [limits.manners_words(one) for one in (case.bounds.manners, case.own.manners)]
    held = [word for word in words if word != limits.NO_LIMIT]
    if case.own.HasField("consent"):
        given = case.own.consent
        held.append(f"release {given.number} anyway, by {given.who}, {local(given.at)}")
    if held and case.node.HasField("report") and not knows_limits(case.node.report):
        held.append(TOO_OLD)
    return [("limits", "; ".join(held))] if held else []


def _block(number: int, block: Block, now: float) -> list[tuple[str, str]]:
    lines = [("in the way" if number == 0 else "and", block.text)]
    if block.since:
        lines.append(("since", moment(block.since, now)))
    if block.until > now:
        lines.append(("until", moment(block.until, now)))
    if block.do:
        lines.append(("to type" if block.do.startswith("modelsync") else "to do", block.do))
    return lines
