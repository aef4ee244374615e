"""`modelsyncctl query`: releases by what they are."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from modelsyncd.client.finding import Found
from modelsyncd.ctl import found
from modelsyncd.ctl.agent import reach
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import ago, utc
from modelsyncd.ctl.hub import Hub, connect
from modelsyncd.ctl.table import Column, table
from modelsyncd.errors import BadInputError
from modelsyncd.query.fields import ALIASES, FIELDS, full_name, nearest
from modelsyncd.query.parser import comparisons, parse_query
from modelsyncd.query.words import Field
from modelsyncd.wire.v1 import search_pb2 as pb

USUAL = ("format", "size")
PAGE = 500
LIMIT = 100
MOST = 10_000  # releases that an agent tells of at once
_NEVER_SHOWN = {"model", "number", "channel", "namespace", "name"}

_EXAMPLES = """\b
Examples:
  modelsyncctl query 'task = helmet and metrics.precision > 0.8'
  modelsyncctl query 'format = onnx and size < 20MiB' --sort -created
  modelsyncctl query 'channel = stable and parent = acme/base' --show licence

\b
Compared with =, !=, <, <=, >, >=, and : (a text that has another in it);
joined with and, or, not and brackets. A word that is no field is a label."""


@click.command("query", epilog="Fields: " + ", ".join([*FIELDS, "labels.NAME", "metrics.NAME"]) + ".")
@click.argument("query", default="", metavar="[QUERY]")
@click.option("--sort", metavar="FIELD", default="", help="Sort by this field; -FIELD for the largest first.")
@click.option("--show", "columns", multiple=True, metavar="FIELD", help="One more column; repeatable.")
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="Releases at most.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many.")
@click.option("--here", is_flag=True, help="Ask this machine's agent: of what it follows, with the hub away, too.")
@asked
def command(
    asked: Asked, *, query: str, sort: str, columns: tuple[str, ...], limit: int, everything: bool, here: bool
) -> None:
    """Find releases by what they are: format, size, labels, metrics, lineage.

    Without a query it is all releases, the newest first.
    """
    names = _columns(query, sort, columns)
    if here:
        asked.run(_here(asked, query, sort, names, MOST if everything else min(limit, MOST)))
    else:
        asked.run(_query(asked, query, sort, names, None if everything else limit))


command.help = f"{command.help}\n\n{_EXAMPLES}"


def _columns(query: str, sort: str, more: Sequence[str]) -> list[str]:
    """The fields to show: the usual ones, those that were asked about, and those that were asked for."""
    told = comparisons(parse_query(query, time.time()))  # a mistake is told before anybody is asked
    named = [one.field.name for one in told if isinstance(one.field, Field)]
    named += [full_name(name) for name in (sort.removeprefix("-"), *more) if name]
    return list(dict.fromkeys(name for name in (*USUAL, *named) if name not in _NEVER_SHOWN))


async def _query(asked: Asked, query: str, sort: str, names: Sequence[str], limit: int | None) -> None:
    async with connect(asked) as hub:
        rows, more = await _found(hub, query, sort, names, limit)
    document = {"releases": [describe(row) for row in rows], "more": more}
    asked.answer(document, text(rows, names, query, time.time(), more=more))


async def _here(asked: Asked, query: str, sort: str, names: Sequence[str], limit: int) -> None:
    async with reach(None) as agent:
        answer = await agent.find(query, sort=sort, limit=limit, fields=names)
    now, more = time.time(), answer.total > len(answer)
    document = {"releases": list(map(_described, answer)), "more": more, "heard_at": utc(answer.heard_at)}
    heard = f"heard {ago(answer.heard_at, now)}" if answer.heard_at else "never heard"
    rows = [_row_of(one) for one in answer]
    asked.answer(document, f"{text(rows, names, query, now, more=more)}\nAs the hub was {heard}.")


def _described(one: Found) -> dict[str, object]:
    return {
        "model": one.name,
        "number": one.number,
        "channels": list(one.channels),
        "committed_at": utc(one.committed_at),
        "by": one.producer,
        "fields": {key: list(values) for key, values in one.fields.items()},
    }


def _row_of(one: Found) -> pb.FoundRelease:
    traits = [
        pb.Trait(key=key, text=value) if isinstance(value, str) else pb.Trait(key=key, number=value)
        for key, values in one.fields.items()
        for value in values
    ]
    return pb.FoundRelease(
        model=one.name, number=one.number, channels=one.channels, committed_at=one.committed_at, traits=traits
    )


async def _found(
    hub: Hub, query: str, sort: str, names: Sequence[str], limit: int | None
) -> tuple[list[pb.FoundRelease], bool]:
    rows: list[pb.FoundRelease] = []
    token = ""
    while True:
        size = PAGE if limit is None else min(PAGE, limit - len(rows))
        request = pb.QueryRequest(query=query, sort=sort, page_size=size, page_token=token, fields=names)
        answer = await hub.ask(hub.search.Query, request)
        rows += answer.releases
        token = answer.next_page_token
        if not token or len(rows) == limit:
            return rows, bool(token)


def describe(row: pb.FoundRelease) -> dict[str, object]:
    """For programs."""
    return {
        "model": row.model,
        "number": row.number,
        "channels": list(row.channels),
        "committed_at": utc(row.committed_at),
        "by": row.who,
        "fields": found.by_key(row.traits),
    }


def text(rows: Sequence[pb.FoundRelease], names: Sequence[str], query: str, now: float, *, more: bool) -> str:
    """For people."""
    if not rows:
        return "\n".join(["No release is like that.", *_guesses(query)])
    columns = [Column("RELEASE"), Column("CHANNELS"), Column("AGE"), *(Column(name.upper()) for name in names)]
    cells = [
        [
            f"{row.model}:{row.number}",
            ", ".join(row.channels) or "-",
            ago(row.committed_at, now),
            *(found.cell(row.traits, name) for name in names),
        ]
        for row in rows
    ]
    shown = table(columns, cells)
    return f"{shown}\nThere are more: --limit {2 * len(rows)}, or --all." if more else shown


def _guesses(query: str) -> list[str]:
    """For a label that no release has, the field that may have been meant."""
    try:
        told = comparisons(parse_query(query, time.time()))
    except BadInputError:
        return []
    lines: list[str] = []
    for one in told:
        name = one.field.name if isinstance(one.field, Field) else ""
        word = name.removeprefix("labels.")
        if name.startswith("labels.") and word not in ALIASES and (close := nearest(word)):
            lines.append(f"{word} is read as a label; did you mean the field {' or '.join(close)}?")
    return lines
