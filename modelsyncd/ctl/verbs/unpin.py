"""`modelsyncctl unpin`: nodes may remove a release again."""

from __future__ import annotations

import click

from modelsyncd.ctl import limits, whom
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.verbs.pin import name, pin_view
from modelsyncd.ctl.whom import Named, whom_options
from modelsyncd.wire.v1 import limits_pb2 as pb


@click.command("unpin")
@click.argument("release", metavar="MODEL:NUMBER")
@whom_options
@limits.note_option
@asked
def command(asked: Asked, release: str, named: Named, note: str) -> None:
    """End a pin.

    Name it as it was made. The release stays as long as it is active, the one before, or there is room.
    """
    asked.run(_unpin(asked, pin_view(release, named.whom, note, verb="unpin")))


async def _unpin(asked: Asked, ended: pb.PinView) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.limits.Unpin, pb.UnpinRequest(pin=ended))
    asked.answer({"pin": limits.pin(answer.pin)}, text(answer.pin))


def text(ended: pb.PinView) -> str:
    """For people."""
    return f"{name(ended)} is no longer pinned on {whom.words(ended.whom)}."
