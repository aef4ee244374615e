"""`modelsyncctl record`: numbers about a release, kept by this machine's agent until the hub has them."""

from __future__ import annotations

import click

from modelsyncd.ctl import pairs
from modelsyncd.ctl.agent import agent_option, reach
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.names import parse_ref, parse_variant


@click.command("record")
@click.argument("model")
@click.argument("metrics", metavar="K=V …", nargs=-1, required=True)
@click.option("--dataset", default="", metavar="NAME", help="What they were measured on.")
@click.option("--stage", default="", metavar="WORD", help="train, eval, deploy, inference, or another word.")
@click.option("--variant", metavar="NAME", help="Which form of the release they are about; '' for all of it.")
@agent_option
@asked
def command(
    asked: Asked,
    *,
    model: str,
    metrics: tuple[str, ...],
    dataset: str,
    stage: str,
    variant: str | None,
    socket: str | None,
) -> None:
    """Record numbers about a release; the agent brings them to the hub, once each.

    MODEL@CHANNEL means the release that is active here now, in the form that this node has; MODEL:NUMBER any, as a
    whole.
    """
    about = parse_variant(variant) if variant else variant
    asked.run(_record(asked, model, pairs.metrics(metrics), dataset, stage, variant=about, socket=socket))


async def _record(
    asked: Asked,
    model: str,
    metrics: dict[str, float],
    dataset: str,
    stage: str,
    *,
    variant: str | None,
    socket: str | None,
) -> None:
    async with reach(socket) as agent:
        number = await agent.record(model, metrics, dataset=dataset, stage=stage, variant=variant)
    name = f"{parse_ref(model).model}"
    asked.answer({"model": name, "number": number, "metrics": metrics}, f"Recorded about {name}:{number}.")
