"""`modelsyncctl outbox`: what this machine has stored to be published, and what keeps it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from modelsyncd.ctl.agent import agent_option, reach, waiting
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import ago, count, share, size
from modelsyncd.ctl.table import Cell, Column, table

if TYPE_CHECKING:
    from modelsyncd.client import Outbox

_COLUMNS = (
    Column("ID"),
    Column("MODEL"),
    Column("SIZE", right=True),
    Column("THERE", right=True),
    Column("STORED"),
    Column("USER"),
    Column("STATE"),
)


@click.group("outbox")
def command() -> None:
    """List, withdraw and send again what this machine has to publish."""


@command.command("list")
@agent_option
@asked
def list_outbox(asked: Asked, socket: str | None) -> None:
    """List what is not on the hub yet, in the order in which it is sent."""
    asked.run(_list(asked, socket))


async def _list(asked: Asked, socket: str | None) -> None:
    async with reach(socket) as agent:
        found = await agent.outbox()
    document = {"items": [waiting(item) for item in found.items], "records": found.records}
    asked.answer(document, text(found, time.time()))


def text(found: Outbox, now: float) -> str:
    """For people."""
    numbers = [f"{count(found.records, 'number')} about releases wait, too."] if found.records else []
    if not found.items:
        return "\n".join(["Everything is on the hub.", *numbers])
    rows = [
        [
            item.id,
            f"{item.model}@{item.channel}" if item.channel else item.model,
            size(item.total),
            share(item.done, item.total) if item.total else "-",
            ago(item.stored_at, now),
            item.user,
            Cell(f"refused: {item.waits}", "red") if item.refused else item.waits or "on its way",
        ]
        for item in found.items
    ]
    return "\n".join([table(_COLUMNS, rows), *numbers])


@command.command("withdraw")
@click.argument("id")
@agent_option
@asked
def withdraw(asked: Asked, id: str, socket: str | None) -> None:  # noqa: A002
    """Take something out of the outbox that is not on the hub yet."""
    asked.run(_withdraw(asked, id, socket))


async def _withdraw(asked: Asked, name: str, socket: str | None) -> None:
    async with reach(socket) as agent:
        on_its_way = await agent.withdraw(name)
    said = f"{name} is out of the outbox."
    if on_its_way:
        said += " It was being sent: the hub may have published it just then (modelsyncctl history MODEL)."
    asked.answer({"id": name, "on_its_way": on_its_way}, said)


@command.command("retry")
@agent_option
@asked
def retry(asked: Asked, socket: str | None) -> None:
    """Send now what waits, also what the hub refused."""
    asked.run(_retry(asked, socket))


async def _retry(asked: Asked, socket: str | None) -> None:
    async with reach(socket) as agent:
        await agent.hasten()
        left = await agent.outbox()
    asked.answer({"items": len(left.items)}, f"{count(len(left.items), 'publication')} tried now.")
