"""`modelsyncctl local`: what lies on this machine, as its agent tells it; no hub is asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from modelsyncd.ctl.agent import agent_option, channel, reach, whole
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import ago, duration, moment, size
from modelsyncd.ctl.table import Column, table
from modelsyncd.release import DEFAULT_VARIANT

if TYPE_CHECKING:
    from modelsyncd.client import LocalModel, LocalVersion, Shown


@click.group("local")
def command() -> None:
    """See what this machine's agent has, where it lies and who holds it."""


@command.command("list")
@agent_option
@asked
def list_local(asked: Asked, socket: str | None) -> None:
    """List the channels that this machine follows."""
    asked.run(_list(asked, socket))


async def _list(asked: Asked, socket: str | None) -> None:
    async with reach(socket) as agent:
        found = await agent.list()
    asked.answer({"models": [channel(one) for one in found]}, text(found))


def text(found: Sequence[LocalModel]) -> str:
    """For people."""
    if not found:
        return "This machine follows nothing yet. At the hub: modelsyncctl assign MODEL@CHANNEL --node NAME"
    formed = any(one.active and one.active.forms > 1 for one in found)
    columns = (
        Column("MODEL"),
        Column("ACTIVE", right=True),
        *([Column("VARIANT")] if formed else []),
        Column("DESIRED", right=True),
        Column("PHASE"),
        Column("PATH"),
    )
    return table(
        columns,
        [
            [
                one.ref,
                str(one.active.number) if one.active else "-",
                *([one.active.variant or "-" if one.active else "-"] if formed else []),
                str(one.desired or "-"),
                one.phase,
                str(one.active.path) if one.active else "-",
            ]
            for one in found
        ],
    )


@command.command("show")
@click.argument("model")
@agent_option
@asked
def show(asked: Asked, model: str, socket: str | None) -> None:
    """Show one channel: versions on the disk, who holds them, and what failed."""
    asked.run(_show(asked, model, socket))


async def _show(asked: Asked, model: str, socket: str | None) -> None:
    async with reach(socket) as agent:
        shown = await agent.show(model)
    asked.answer(whole(shown), shown_text(shown, time.time()))


def shown_text(shown: Shown, now: float) -> str:
    """For people."""
    local, active = shown.local, shown.local.active
    lines = [f"{local.ref}: {local.phase}, {local.desired or 'nothing'} is desired"]
    if active is not None:
        form = f" as {active.variant}" if active.forms > 1 else ""
        lines += [f"active    {active.number}{form}, {ago(active.active_since, now)}", f"path      {active.path}"]
    if shown.trial_seconds:
        lines.append(f"trial     waits {duration(shown.trial_seconds)} more for: modelsyncctl confirm {local.ref}")
    if shown.previous:
        lines.append(f"previous  {shown.previous}")
    if shown.failure is not None:
        lines.append(f"failed    {shown.failure.number}, {moment(shown.failure.at, now)}: {shown.failure.why}")
        lines.append(f"          try it again: modelsyncctl local retry {local.ref}")
    if shown.versions:
        lines += ["", _versions(shown.versions)]
    return "\n".join(lines)


def _versions(versions: Sequence[LocalVersion]) -> str:
    formed = any(one.variant not in {"", DEFAULT_VARIANT} for one in versions)
    columns = (
        Column("VERSION", right=True),
        *([Column("VARIANT")] if formed else []),
        Column("SIZE", right=True),
        Column("STATE"),
        Column("HELD BY"),
    )
    return table(
        columns,
        [
            [
                str(one.number),
                *([one.variant or "-"] if formed else []),
                size(one.size),
                "whole" if one.whole else "damaged",
                ", ".join(one.holders) or "-",
            ]
            for one in versions
        ],
    )


@command.command("path")
@click.argument("model")
@click.option("--wait", type=click.FloatRange(min=0), default=0.0, metavar="S", help="Seconds to wait for a version.")
@agent_option
@asked
def path(asked: Asked, model: str, wait: float, socket: str | None) -> None:
    """Print the path of what is active, for scripts: model=$(modelsyncctl local path MODEL)."""
    asked.run(_path(asked, model, wait, socket))


async def _path(asked: Asked, model: str, wait: float, socket: str | None) -> None:
    async with reach(socket) as agent:
        found = await agent.get(model, wait or None)
    asked.answer(
        {"model": found.name, "channel": found.channel, "number": found.number, "path": str(found.path)},
        str(found.path),
    )


@command.command("retry")
@click.argument("model")
@agent_option
@asked
def retry(asked: Asked, model: str, socket: str | None) -> None:
    """Let a version be tried again that failed on this machine."""
    asked.run(_retry(asked, model, socket))


async def _retry(asked: Asked, model: str, socket: str | None) -> None:
    async with reach(socket) as agent:
        number = await agent.retry(model)
    asked.answer(
        {"model": model, "number": number or None},
        f"{model}: release {number} is tried again." if number else f"{model}: nothing has failed here.",
    )
