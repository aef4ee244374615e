"""`modelsyncctl login`: a context file becomes one of a person's own, and the one in use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from modelsyncd.ctl import context as contexts
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.hub import connect
from modelsyncd.names import parse_node


@click.command("login")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="PATH_TO_admin.toml")
@click.option("--name", default="hub", show_default=True, help="What to call it; see `modelsyncctl contexts`.")
@asked
def command(asked: Asked, file: Path, name: str) -> None:
    """Keep a context file as one of yours and use it.

    It is kept only if the hub answers. With --hub HOST:PORT it is kept with that address instead of its own, as when
    the file was made on the hub's own machine.
    """
    asked.run(_login(asked, file, parse_node(name)))


async def _login(asked: Asked, file: Path, name: str) -> None:
    asked = replace(asked, context=file)
    folder = contexts.config_folder()
    context = contexts.chosen(asked, folder)
    async with connect(asked) as hub:
        await hub.greet()
    path = contexts.keep(folder, name, context)
    asked.answer(
        {"name": name, "path": str(path), "hub": context.hub, "who": context.name},
        f"{context.hub} answers. From now on you are admin/{context.name} there.\nKept as {path}; it holds a secret.",
    )
