"""`modelsyncctl confirm`: a word to this machine's agent on whether a version works."""

from __future__ import annotations

import click

from modelsyncd.ctl.agent import agent_option, reach
from modelsyncd.ctl.asked import Asked, asked


@click.command("confirm")
@click.argument("model")
@click.option("--number", type=click.IntRange(min=1), metavar="N", help="The release; by default what is active now.")
@click.option("--broken", metavar="WHY", help="It does not work, and why: the version before it comes back.")
@agent_option
@asked
def command(asked: Asked, model: str, number: int | None, broken: str | None, socket: str | None) -> None:
    """Say whether the version that this machine tries works.

    Without --broken it works.
    """
    asked.run(_confirm(asked, model, number, broken, socket))


async def _confirm(asked: Asked, model: str, number: int | None, broken: str | None, socket: str | None) -> None:
    async with reach(socket) as agent:
        which = number or (await agent.get(model)).number
        counted = await agent.confirm(model, broken is None, broken or "", number=which)
    said = "works" if broken is None else "does not work"
    more = "" if counted else " Nobody waited for that: nothing changes."
    document = {"model": model, "number": which, "works": broken is None, "counted": counted}
    asked.answer(document, f"{model}: release {which} {said}.{more}")
