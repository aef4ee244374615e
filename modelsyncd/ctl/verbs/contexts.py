"""`modelsyncctl contexts`: which hubs a person can speak to, and which one is in use."""

from __future__ import annotations

import click

from modelsyncd.ctl import context as contexts
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.context import Known
from modelsyncd.ctl.table import Column, table

_COLUMNS = (Column(""), Column("NAME"), Column("HUB"), Column("YOU"))


@click.command("contexts")
@click.option("--use", metavar="NAME", help="Use this one from now on.")
@asked
def command(asked: Asked, use: str | None) -> None:
    """List your contexts, or use another one."""
    folder = contexts.config_folder()
    if use is not None:
        contexts.use(folder, use)
    found = contexts.known(folder)
    asked.answer({"contexts": [_shape(one) for one in found]}, text(found))


def _shape(one: Known) -> dict[str, object]:
    return {"name": one.name, "hub": one.hub, "who": one.who, "path": str(one.path), "in_use": one.in_use}


def text(found: list[Known]) -> str:
    """For people; the one in use has a star."""
    if not found:
        return "No contexts yet. Make one: modelsyncctl login PATH_TO_admin.toml"
    return table(_COLUMNS, [["*" if one.in_use else "", one.name, one.hub, f"admin/{one.who}"] for one in found])
