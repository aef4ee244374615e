"""`modelsyncctl list`: models with their channels and newest release."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from modelsyncd.ctl import shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import ago, size
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.table import Column, table
from modelsyncd.wire.v1 import catalog_pb2 as pb

_COLUMNS = (
    Column("MODEL"),
    Column("NEWEST", right=True),
    Column("SIZE", right=True),
    Column("AGE"),
    Column("CHANNELS"),
)


@click.command("list")
@click.argument("prefix", default="")
@asked
def command(asked: Asked, prefix: str) -> None:
    """List models with their channels and newest release.

    PREFIX keeps only the names that begin so, as in "acme/".
    """
    asked.run(_list(asked, prefix))


async def _list(asked: Asked, prefix: str) -> None:
    async with connect(asked) as hub:
        models = await hub.models(prefix)
    asked.answer({"models": [shape.model(model) for model in models]}, text(models, time.time()))


def text(models: Sequence[pb.ModelView], now: float) -> str:
    """For people."""
    if not models:
        return "No models yet. Publish one: modelsyncctl push PATH NAMESPACE/NAME"
    rows = [_row(model, now) for model in models]
    bundles = [shape.members(shape.opened(model.newest)) for model in models]
    if not any(bundles):
        return table(_COLUMNS, rows)
    return table([*_COLUMNS, Column("BUNDLE OF")], [[*row, of or "-"] for row, of in zip(rows, bundles, strict=True)])


def _row(model: pb.ModelView, now: float) -> list[str]:
    newest = shape.opened(model.newest)
    channels = ", ".join(f"{channel.name}={channel.number}" for channel in model.channels)
    return [
        model.model,
        str(model.newest.number),
        size(shape.content_size(newest)),
        ago(model.newest.committed_at, now),
        channels or "-",
    ]
