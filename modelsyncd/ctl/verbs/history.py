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
from modelsyncd.exchange import past
from modelsyncd.names import ModelName, parse_model
from modelsyncd.wire.v1 import catalog_pb2 as pb

LIMIT = 100
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
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="Releases, and moves, at most.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many.")
@asked
def command(asked: Asked, model: str, *, limit: int, everything: bool) -> None:
    """Show a model's releases and the moves of its channels."""
    asked.run(_history(asked, parse_model(model), None if everything else limit))


async def _history(asked: Asked, model: ModelName, limit: int | None) -> None:
    async with connect(asked) as hub:
        found, more = await _found(past.asking(hub), model, limit)
    asked.answer(
        {
            "model": str(model),
            "releases": [shape.release(release) for release in found.releases],
            "moves": [shape.move(move) for move in found.moves],
            "more": more,
        },
        text(found, limit, time.time(), more=more),
    )


async def _found(ask: past.Ask, model: ModelName, limit: int | None) -> tuple[pb.GetHistoryResponse, bool]:
    """At most `limit` releases and moves, the newest, and whether there are more."""
    found = pb.GetHistoryResponse()
    async for page in past.pages(ask, model, past.PAGE if limit is None else min(limit, past.PAGE)):
        found.MergeFrom(page)
        if limit is not None and max(len(found.releases), len(found.moves)) >= limit:
            break
    more = bool(page.next_page_token)
    if limit is not None:
        more |= max(len(found.releases), len(found.moves)) > limit  # of a last page, or of a hub that has no pages
        del found.releases[limit:], found.moves[limit:]
    return found, more


def text(found: pb.GetHistoryResponse, limit: int | None, now: float, *, more: bool) -> str:
    """For people: two tables."""
    parts = [_releases(found.releases, now)]
    if found.moves:
        parts.append(table(_MOVES, [_move(move, now) for move in found.moves]))
    else:
        parts.append("No channel names a release of it yet.")
    if more and limit is not None:
        parts.append(f"There are more: --limit {2 * limit}, or --all.")
    return "\n\n".join(parts)


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
