"""`modelsyncctl publish`: a file or folder becomes a release by way of this machine's agent, with or without a link."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelsyncd.ctl import pairs
from modelsyncd.ctl.agent import agent_option, reach
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import size
from modelsyncd.ctl.progress import Meter, meter
from modelsyncd.ctl.progress import Step as Shown
from modelsyncd.errors import BadInputError
from modelsyncd.names import parse_ref

if TYPE_CHECKING:
    from modelsyncd.client import Published, Step


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants published, and how."""

    path: Path
    model: str
    parents: tuple[str, ...]
    labels: dict[str, str]
    metrics: dict[str, float]
    note: str
    wait: bool


@click.command("publish")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("model")
@click.option("--channel", metavar="C", help="Move this channel to the new release.")
@click.option("--parent", "parents", multiple=True, metavar="MODEL:N", help="A release that it came from; repeatable.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label of the release; repeatable.")
@click.option("--metric", "metrics", multiple=True, metavar="K=V", help="A number known about it; repeatable.")
@click.option("--note", default="", help="A sentence for people.")
@click.option("--no-wait", is_flag=True, help="End once it is stored on this machine, instead of when the hub has it.")
@agent_option
@asked
def command(
    asked: Asked,
    *,
    path: Path,
    model: str,
    channel: str | None,
    parents: tuple[str, ...],
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
    note: str,
    no_wait: bool,
    socket: str | None,
) -> None:
    """Publish a file or folder from this machine by way of its agent, with or without a link.

    It is stored first, and the agent brings it to the hub, whatever happens to the link, the power or this command.
    """
    ref = parse_ref(model)
    if channel and ref.channel and channel != ref.channel:
        raise BadInputError(f"two channels are named: {ref.channel} and {channel}")
    target = f"{ref.model}@{channel}" if channel else model
    wish = Wish(path, target, parents, pairs.labels(labels), pairs.metrics(metrics), note, not no_wait)
    asked.run(
        _publish(asked, wish, socket),
        interrupted="What was stored reaches the hub without this command: see modelsyncctl outbox list.",
    )


async def _publish(asked: Asked, wish: Wish, socket: str | None) -> None:
    async with reach(socket) as agent:
        with ExitStack() as meters:
            done = await agent.publish(
                wish.path,
                wish.model,
                parents=wish.parents,
                labels=wish.labels,
                metrics=wish.metrics,
                note=wish.note,
                wait=wish.wait,
                progress=_Shown(asked, meters).hear,
            )
    asked.answer(document(done), text(done, wish.model))


class _Shown:
    """What is seen while it is under way: first the reading, then the sending."""

    def __init__(self, asked: Asked, meters: ExitStack) -> None:
        self._asked = asked
        self._meters = meters
        self._meter: Meter | None = None
        self._stage = ""
        self._waits = ""

    def hear(self, step: Step) -> None:
        """Shows a step."""
        if step.stage == "stored":
            self._asked.note(f"Stored on this machine, {size(step.total)}: it may be deleted here.")
            return
        if step.stage != self._stage:
            self._stage = step.stage
            self._meters.close()
            title = "Reading" if step.stage == "reading" else "Sending"
            self._meter = self._meters.enter_context(meter(title, silent=self._asked.json))
        if self._meter is not None:
            self._meter.show(Shown(step.total, step.done))
            if step.waits and step.waits != self._waits:
                self._meter.note(f"Waits: {step.waits}")
            self._waits = step.waits


def document(done: Published) -> dict[str, object]:
    """For programs."""
    return {
        "id": done.id,
        "model": done.model,
        "number": done.number or None,
        "created": done.created,
        "release_digest": done.release or None,
        "manifest_digest": done.manifest,
        "bytes": done.size,
        "bytes_wire": done.wire,
        "known": done.known,
    }


def text(done: Published, model: str) -> str:
    """For people."""
    if not done.number:
        again = " (it was there already)" if done.known else ""
        return f"Stored as {done.id}{again}, {size(done.size)}. The agent sends it: modelsyncctl outbox list"
    name = f"{done.model}:{done.number}"
    if not done.created:
        return f"The same content is there already as {name}; nothing new was published."
    return f"Published {name}: {size(done.size)}, {size(done.wire)} sent." + (
        f" {model} names it." if "@" in model else ""
    )
