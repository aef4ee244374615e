"""`modelsyncctl record`: numbers about a release, kept by this machine's agent until the hub has them."""

from __future__ import annotations

import click

from modelsyncd.ctl import pairs
from modelsyncd.ctl.agent import agent_option, reach
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.names import parse_ref


@click.command("record")
@click.argument("model")
@click.argument("metrics", metavar="K=V …", nargs=-1, required=True)
@click.option("--dataset", default="", metavar="NAME", help="What they were measured on.")
@click.option("--stage", default="", metavar="WORD", help="train, eval, deploy, inference, or another word.")
@agent_option
@asked
def command(
    asked: Asked, *, model: str, metrics: tuple[str, ...], dataset: str, stage: str, socket: str | None
) -> None:
    """Record numbers about a release; the agent brings them to the hub, once each.

    MODEL@CHANNEL means the release that is active here now, MODEL:NUMBER any.
    """
    asked.run(_record(asked, model, pairs.metrics(metrics), dataset, stage, socket=socket))


async def _record(
    asked: Asked, model: str, metrics: dict[str, float], dataset: str, stage: str, *, socket: str | None
) -> None:
    async with reach(socket) as agent:
        number = await agent.record(model, metrics, dataset=dataset, stage=stage)
    name = f"{parse_ref(model).model}"
    asked.answer({"model": name, "number": number, "metrics": metrics}, f"Recorded about {name}:{number}.")
