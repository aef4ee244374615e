"""`modelsyncctl transfers`: what travels to which node, how fast, how long yet, and what holds it up."""

from __future__ import annotations

import functools

import click

from modelsyncd.ctl import outboxes
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import utc
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.looking import Fleet, follow, look
from modelsyncd.ctl.retry import insist
from modelsyncd.ctl.table import table
from modelsyncd.ctl.transfers import COLUMNS, Transfer, document
from modelsyncd.escapes import plain
from modelsyncd.names import parse_node


@click.command("transfers")
@click.option("--node", "-n", metavar="NAME", help="Only to this node.")
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
@click.option("--watch", is_flag=True, help="Show them again whenever something happens, until Ctrl-C.")
@asked
def command(asked: Asked, node: str | None, everything: bool, watch: bool) -> None:
    """Show what travels to which node, how fast, and what holds it up.

    It is what the nodes last reported. Why one of them stands where it does: modelsyncctl why NODE MODEL.
    """
    asked.run(_transfers(asked, parse_node(node) if node else "", everything=everything, watch=watch))


async def _transfers(asked: Asked, node: str, *, everything: bool, watch: bool) -> None:
    async with connect(asked) as hub:
        fleet = await look(hub, node, "")
        if not watch:
            asked.answer(describe(chosen(fleet, everything=everything), fleet), text(fleet, everything=everything))
            return
        show = functools.partial(_repaint, asked, everything=everything)
        show(fleet)
        await insist(lambda: follow(hub, node, "", show), retry=True, note=asked.note)


def _repaint(asked: Asked, fleet: Fleet, *, everything: bool) -> None:
    asked.repaint(describe(chosen(fleet, everything=everything), fleet), text(fleet, everything=everything))


def chosen(fleet: Fleet, *, everything: bool) -> list[Transfer]:
    """Those that are not over, or all."""
    found = [Transfer(place, fleet.at) for place in fleet.places]
    return [one for one in found if everything or not one.is_over]


def describe(found: list[Transfer], fleet: Fleet) -> dict[str, object]:
    """For programs."""
    return {
        "at": utc(fleet.at),
        "transfers": [document(one) for one in found],
        "outboxes": outboxes.documents(fleet.nodes),
    }


def text(fleet: Fleet, *, everything: bool) -> str:
    """For people."""
    found = chosen(fleet, everything=everything)
    waiting = [plain(line) for line in outboxes.lines(fleet.nodes, fleet.at)]
    if not found and not waiting:
        return "Nothing travels, and nothing waits to. What is over, too: modelsyncctl transfers --all"
    rows = table(COLUMNS, [one.row for one in found]) if found else ""
    return "\n\n".join(part for part in (rows, "\n".join(waiting)) if part)
