"""`modelsyncctl pin`: a release stays on nodes, whatever else would need the room; without one, what is pinned."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from modelsyncd.ctl import limits, whom
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import moment
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.table import Column, table
from modelsyncd.ctl.whom import Named, whom_options
from modelsyncd.errors import BadInputError
from modelsyncd.names import parse_ref
from modelsyncd.wire.v1 import limits_pb2 as pb

_COLUMNS = (Column("RELEASE"), Column("ON"), Column("NODES", right=True), Column("BY"), Column("WHEN"), Column("NOTE"))


@click.command("pin")
@click.argument("release", metavar="[MODEL:NUMBER]", required=False)
@whom_options
@limits.note_option
@asked
def command(asked: Asked, release: str | None, named: Named, note: str) -> None:
    """Keep a release on nodes that have it; without one, list the pins.

    A pinned release is never evicted, but a pin does not fetch it: assign does.
    """
    if release is None:
        asked.run(_list(asked, named.only_node("which release? As in: modelsyncctl pin MODEL:NUMBER --all")))
        return
    asked.run(_pin(asked, pin_view(release, named.whom, note, verb="pin")))


def pin_view(release: str, target: pb.Whom, note: str, *, verb: str) -> pb.PinView:
    """What was named on the command line. Raises BadInputError, InvalidNameError."""
    ref = parse_ref(release)
    if ref.number is None:
        raise BadInputError(
            f"{ref} does not say which release", hint=f"modelsyncctl {verb} {ref.model}:NUMBER {whom.typed(target)}"
        )
    return pb.PinView(whom=target, model=str(ref.model), number=ref.number, note=note)


async def _pin(asked: Asked, wanted: pb.PinView) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.limits.Pin, pb.PinRequest(pin=wanted))
    asked.answer({"pin": limits.pin(answer.pin), "created": answer.created}, text(answer))


def text(answer: pb.PinResponse) -> str:
    """For people."""
    made = answer.pin
    verb = "stays" if answer.created else "stays already"
    return f"{name(made)} {verb} on {whom.words(made.whom)} ({limits.reached(made.nodes)})."


def name(pin: pb.PinView) -> str:
    """The release, as it is typed."""
    return f"{pin.model}:{pin.number}"


async def _list(asked: Asked, node: str) -> None:
    async with connect(asked) as hub:
        pins = (await hub.ask(hub.limits.ListPins, pb.ListPinsRequest(node=node))).pins
    asked.answer({"pins": [limits.pin(one) for one in pins]}, list_text(pins, time.time()))


def list_text(pins: Sequence[pb.PinView], now: float) -> str:
    """For people."""
    if not pins:
        return "Nothing is pinned. For example: modelsyncctl pin acme/helmet:1 --node edge-1"
    rows = [
        [name(one), whom.words(one.whom), str(len(one.nodes)), one.who, moment(one.at, now), one.note or "-"]
        for one in pins
    ]
    return table(_COLUMNS, rows)
