"""`modelsyncctl history`: a model's releases and the moves of its channels, newest first."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from modelsyncd.ctl import shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import moment, size
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.table import Column, table
from modelsyncd.names import parse_model
from modelsyncd.wire.v1 import catalog_pb2 as pb

_RELEASES = (
    Column("NUMBER", right=True),
    Column("SIZE", right=True),
    Column("COMMITTED"),
    Column("BY"),
    Column("CHANNELS"),
    Column("NOTE"),
)
_MOVES = (
    Column("CHANNEL"),
    Column("FROM", right=True),
    Column("TO", right=True),
    Column("AT"),
    Column("BY"),
    Column("WHY"),
)


@click.command("history")
@click.argument("model")
@asked
def command(asked: Asked, model: str) -> None:
    """Show a model's releases and the moves of its channels."""
    asked.run(_history(asked, str(parse_model(model))))


async def _history(asked: Asked, model: str) -> None:
    async with connect(asked) as hub:
        answer = await hub.ask(hub.catalog.GetHistory, pb.GetHistoryRequest(model=model))
    asked.answer(
        {
            "model": model,
            "releases": [shape.release(release) for release in answer.releases],
            "moves": [shape.move(move) for move in answer.moves],
        },
        text(answer, time.time()),
    )


def text(answer: pb.GetHistoryResponse, now: float) -> str:
    """For people: two tables."""
    releases = _releases(answer.releases, now)
    if not answer.moves:
        return f"{releases}\n\nNo channel names a release of it yet."
    return f"{releases}\n\n{table(_MOVES, [_move(move, now) for move in answer.moves])}"


def _releases(views: Sequence[pb.ReleaseView], now: float) -> str:
    rows = [_release(view, now) for view in views]
    bundles = [shape.members(shape.opened(view)) for view in views]
    if not any(bundles):
        return table(_RELEASES, rows)
    of = [[*row, members or "-"] for row, members in zip(rows, bundles, strict=True)]
    return table([*_RELEASES, Column("BUNDLE OF")], of)


def _release(view: pb.ReleaseView, now: float) -> list[str]:
    inner = shape.opened(view)
    return [
        str(view.number),
        size(shape.content_size(inner)),
        moment(view.committed_at, now),
        inner.producer or "-",
        ", ".join(view.channels) or "-",
        inner.note or "-",
    ]


def _move(move: pb.Move, now: float) -> list[str]:
    return [
        move.channel,
        str(move.from_number or "-"),
        str(move.to_number or "-"),
        moment(move.at, now),
        move.who,
        move.why,
    ]
