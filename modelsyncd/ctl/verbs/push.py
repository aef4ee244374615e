"""`modelsyncctl push`: a file or folder becomes a model's next release."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import click

from modelsyncd.ctl import pairs, shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.bases import read_bases
from modelsyncd.ctl.forms import Forms, forms
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.origins import origin, parents
from modelsyncd.ctl.progress import meter
from modelsyncd.ctl.pushing import describe, publish, read, text
from modelsyncd.errors import BadInputError
from modelsyncd.exchange.adding import added_to
from modelsyncd.exchange.coder import Coding
from modelsyncd.exchange.publishing import Form, Push, Wish, next_number
from modelsyncd.limits import LIMITS
from modelsyncd.names import ModelRef, parse_channel, parse_ref


@click.command("push")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("model")
@click.option("--channel", metavar="C", help="Move this channel to the new release.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label of the release; repeatable.")
@click.option("--metric", "metrics", multiple=True, metavar="K=V", help="A number known about it; repeatable.")
@click.option("--note", default="", help="A sentence for people.")
@click.option("--licence", "--license", default="", metavar="NAME", help="Its terms, where no card says them.")
@click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="What it was trained on; repeatable.")
@click.option(
    *("--base", "bases"),
    type=click.Path(path_type=Path),
    multiple=True,
    help="An earlier release's folder or file: what resembles it travels as the difference; repeatable.",
)
@click.option(
    "--coding",
    type=click.Choice([one.value for one in Coding]),
    default=Coding.AUTO.value,
    help="How much CPU a saved byte is worth; by default the link's rate says.",
)
@click.option("--variant", metavar="NAME", help="What this form of the model is called, as in fp32 or int8.")
@click.option(
    *("--selector", "selector"),
    multiple=True,
    metavar="[NAME:]K=V",
    help="Nodes that a variant is for, by label or fact, as in arch=arm64 or int8:memory='<4GiB'; repeatable.",
)
@click.option("--also", multiple=True, metavar="NAME=PATH", help="Another variant of the same release; repeatable.")
@click.option("--add-to", "base", metavar="RELEASE", help="Keep the variants of this release beside the new ones.")
@click.option(
    *("--parent", "origins"),
    multiple=True,
    metavar="RELEASE[=ROLE]",
    help="What it came from, and how: fine-tuned-from (default), distilled-from, …; repeatable.",
)
@click.option("--no-retry", is_flag=True, help="End when the link is lost, instead of going on when it is back.")
@asked
def command(
    asked: Asked,
    *,
    path: Path,
    model: str,
    channel: str | None,
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
    note: str,
    licence: str,
    datasets: tuple[str, ...],
    bases: tuple[Path, ...],
    coding: str,
    variant: str | None,
    selector: tuple[str, ...],
    also: tuple[str, ...],
    base: str | None,
    origins: tuple[str, ...],
    no_retry: bool,
) -> None:
    """Publish a file or folder as a model's next release.

    Only what the hub does not have yet travels. A push that was cut off goes on when the same command is given again.

    A release may have several variants, of which each node gets the one that fits it:

    modelsyncctl push helmet-int8/ acme/helmet --variant int8 --selector memory='<4GiB' --add-to acme/helmet:1
    """
    ref = parse_ref(model)
    wish = Wish(ref.model, _channel(ref, channel), pairs.labels(labels), pairs.metrics(metrics), note)
    if len(note) > LIMITS.note_chars:
        raise BadInputError(f"a note may have {LIMITS.note_chars} characters, not {len(note)}")
    named = forms(ref.model, variant, selector, also, base)
    wish = replace(wish, variant=named.name, selector=named.selector(named.name), licence=licence, datasets=datasets)
    asked.run(
        _push(
            asked,
            path,
            wish,
            named,
            origins=[origin(one) for one in origins],
            named=bases,
            coding=Coding(coding),
            retry=not no_retry,
        ),
        interrupted="What the hub has received stays there: the same command goes on from it. Nothing was published.",
    )


def _channel(ref: ModelRef, channel: str | None) -> str:
    if ref.number is not None:
        raise BadInputError(f"the hub gives the number: push to {ref.model}, without :{ref.number}")
    if ref.channel and channel and ref.channel != channel:
        raise BadInputError(f"two channels are named: {ref.channel} and {channel}")
    return parse_channel(channel) if channel else ref.channel or ""


async def _push(
    asked: Asked,
    path: Path,
    wish: Wish,
    forms: Forms,
    *,
    origins: Sequence[tuple[ModelRef, str]],
    named: Sequence[Path],
    coding: Coding,
    retry: bool,
) -> None:
    async with connect(asked) as hub, AsyncExitStack() as stack:
        number = await next_number(hub, wish.model)  # first of all: a hub that can't be reached must not cost a scan
        wish = replace(wish, parents=await parents(hub, origins))

        async def added() -> Wish:
            base = forms.base
            return wish if base is None else added_to(wish, shape.opened(await hub.release(str(base))))

        whole = await added()
        source = stack.enter_context(await read(asked, path))
        also = [
            Form(name, stack.enter_context(await read(asked, other)), forms.selector(name))
            for name, other in forms.also.items()
        ]
        bases = await read_bases(named, silent=asked.json)
        with meter(f"pushing {wish.model}", silent=asked.json) as shown:
            push = Push(hub, whole, source, bases, coding, retry, also=also, renew=added)
            published = await publish(push, shown, number)
    asked.answer(describe(published), text(published))
