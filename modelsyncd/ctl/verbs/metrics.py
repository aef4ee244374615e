"""`modelsyncctl metrics`: the numbers that nodes and people recorded about releases."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from modelsyncd.ctl import numbers
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.hub import connect
from modelsyncd.names import ModelRef, parse_ref
from modelsyncd.wire.v1 import records_pb2 as pb


@click.command("metrics")
@click.argument("release", metavar="MODEL[@CHANNEL|:NUMBER]")
@click.option("--name", default="", metavar="NAME", help="Only this number, as in precision.")
@click.option("--newest", is_flag=True, help="Of each release and name only the newest.")
@asked
def command(asked: Asked, release: str, name: str, *, newest: bool) -> None:
    """Show the numbers recorded about a model's releases, oldest first.

    Without a channel or number it is all of the model's releases.
    """
    asked.run(_metrics(asked, parse_ref(release), name, newest=newest))


async def _metrics(asked: Asked, ref: ModelRef, name: str, *, newest: bool) -> None:
    found: list[pb.Number] = []
    async with connect(asked) as hub:
        if newest:
            found += await numbers.newest(hub, str(ref), name)
        else:
            async for page in numbers.pages(hub, str(ref), name):
                found += page
    asked.answer({"numbers": [numbers.describe(one) for one in found]}, text(ref, found, time.time()))


def text(ref: ModelRef, found: Sequence[pb.Number], now: float) -> str:
    """For people."""
    return numbers.text(found, now) if found else f"Nothing was recorded about {ref} yet."
