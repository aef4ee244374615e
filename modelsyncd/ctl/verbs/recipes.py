"""`modelsyncctl recipes`: what `derive` can do on this machine."""

from __future__ import annotations

import click

from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import pairs
from modelsyncd.ctl.table import Column, table
from modelsyncd.errors import ModelsyncError
from modelsyncd.recipes.recipe import installed, named

_COLUMNS = (Column("RECIPE"), Column("VERSION"), Column("WHAT IT DOES"), Column("OPTIONS"))


@click.command("recipes")
@asked
def command(asked: Asked) -> None:
    """List the recipes that are installed, with their options.

    A recipe is an entry point of the group modelsyncd.recipes; docs/derive.md shows how to write one.
    """
    found = [_look(name) for name in sorted(installed())]
    rows = [[str(one["name"]), str(one["version"] or "-"), str(one["summary"]), str(one["shown"])] for one in found]
    documents = [{key: value for key, value in one.items() if key != "shown"} for one in found]
    asked.answer({"recipes": documents}, table(_COLUMNS, rows) if rows else "There are none.")


def _look(name: str) -> dict[str, object]:
    try:
        recipe = named(name)
    except ModelsyncError as error:
        return {"name": name, "version": None, "summary": error.message, "options": {}, "usable": False, "shown": "-"}
    options = dict(recipe.options)
    return {
        "name": name,
        "version": recipe.version,
        "summary": recipe.summary,
        "options": options,
        "usable": True,
        "shown": pairs(options),
    }
