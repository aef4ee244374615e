"""`modelsyncctl push`: a file or folder becomes a model's next release."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import click

from modelsyncd.ctl import cost as costs
from modelsyncd.ctl import pairs, shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.bases import read_bases
from modelsyncd.ctl.cost import Cost
from modelsyncd.ctl.figures import count, duration, share, size
from modelsyncd.ctl.forms import Forms, forms
from modelsyncd.ctl.hub import connect
from modelsyncd.ctl.origins import origin, parents
from modelsyncd.ctl.progress import Meter, Step, meter
from modelsyncd.ctl.retry import noted
from modelsyncd.ctl.tally import Tally
from modelsyncd.digest import to_text
from modelsyncd.errors import BadInputError
from modelsyncd.exchange.adding import added_to
from modelsyncd.exchange.coder import Coding
from modelsyncd.exchange.local_base import LocalBase
from modelsyncd.exchange.publishing import Form, Push, Watched, Wish, next_number
from modelsyncd.exchange.thread import Check, in_thread
from modelsyncd.limits import LIMITS
from modelsyncd.names import DEFAULT_CHANNEL, ModelRef, parse_channel, parse_ref
from modelsyncd.release import ManifestRef
from modelsyncd.session.events import Settled
from modelsyncd.session.progress import Progress
from modelsyncd.store.source import Source, scan

WORTH_A_HINT = 1 << 20  # bytes that travelled without a base
HINT = "With --base DIR, the folder of an earlier release, what was only trained further travels as the difference."


@dataclass(frozen=True, slots=True)
class Published:
    """What came of it; the cost counts from the first offer. `hint` says how it could have been less.

    `bases` are those that were named, with whether the hub holds them: None where that did not come up.
    """

    wish: Wish
    ref: ManifestRef
    settled: Settled
    ours: bool
    cost: Cost
    bases: tuple[tuple[LocalBase, bool | None], ...] = ()
    hint: str = ""
    also: tuple[ManifestRef, ...] = ()
    """Of the variants that came with it."""

    @property
    def files(self) -> int:
        """Of all that was pushed."""
        return sum(ref.files for ref in (self.ref, *self.also))


@click.command("push")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("model")
@click.option("--channel", metavar="C", help="Move this channel to the new release.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label of the release; repeatable.")
@click.option("--metric", "metrics", multiple=True, metavar="K=V", help="A number known about it; repeatable.")
@click.option("--note", default="", help="A sentence for people.")
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
    wish = replace(wish, variant=named.name, selector=named.selector(named.name))
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
        if forms.base is not None:
            wish = added_to(wish, shape.opened(await hub.release(str(forms.base))))
        source = stack.enter_context(await _read(asked, path))
        also = [
            Form(name, stack.enter_context(await _read(asked, other)), forms.selector(name))
            for name, other in forms.also.items()
        ]
        bases = await read_bases(named, silent=asked.json)
        with meter(f"pushing {wish.model}", silent=asked.json) as shown:
            push = Push(hub, wish, source, bases, coding, retry, also=also)
            published = await _publish(push, shown, number)
    asked.answer(describe(published), text(published))


async def _read(asked: Asked, path: Path) -> Source:
    with meter(f"reading {path.name or path}", silent=asked.json) as shown:
        return await in_thread(lambda check: _scan(path, shown, check))


def _scan(path: Path, shown: Meter, check: Check) -> Source:
    def progress(done: int, total: int) -> None:
        check()
        shown.show(Step(total, done))

    return scan(path, progress=progress)


async def _publish(push: Push, shown: Meter, number: int) -> Published:
    tallies, content = [Tally(ref.content_size) for ref in push.refs], sum(ref.content_size for ref in push.refs)

    def show(progress: Progress) -> None:
        tallies[push.at].given(progress)
        steps = [tally.step for tally in tallies[: push.at + 1]]
        before = sum(step.total for step in steps[:-1])  # what was not given was there
        shown.show(Step(content, before + steps[-1].done, sum(step.had for step in steps)))

    def begin() -> None:
        tallies[push.at].begin()

    push.watched = Watched(begin, show, noted(shown.note))
    landed = await push.run(number)
    givers = push.givers
    cost = Cost(
        content=content,
        had=content - sum(giver.plain for giver in givers),
        coded=sum(giver.coded for giver in givers),
        wire=sum(giver.wire for giver in givers),
        giver_cpu=sum(giver.cpu for giver in givers),
        taker_cpu=sum(tally.taker_cpu for tally in tallies),
        seconds=landed.seconds,
    )
    held = [giver.held for giver in givers if giver.held is not None]
    told = tuple((one, any(one.name in names for names in held) if held else None) for one in push.bases)
    hint = HINT if landed.settled.number > 1 and not push.bases and cost.plain >= WORTH_A_HINT else ""
    return Published(push.wish, push.ref, landed.settled, landed.ours, cost, told, hint, push.refs[1:])


def describe(done: Published) -> dict[str, object]:
    """For programs."""
    return {
        "model": str(done.wish.model),
        "number": done.settled.number,
        "created": done.ours,
        "channel": done.wish.channel or None,
        "release_digest": to_text(done.settled.release_digest),
        "manifest_digest": to_text(done.ref.digest),
        "variant": done.wish.variant,
        "kept": [one.name for one in done.wish.kept if one.name != done.wish.variant],
        "files": done.files,
        **costs.describe(done.cost),
        "bases": [one.describe() | {"held": held} for one, held in done.bases],
        "hint": done.hint or None,
    }


def text(done: Published) -> str:
    """For people, with what to type next."""
    name = f"{done.wish.model}:{done.settled.number}"
    content = f"{count(done.files, 'file')}, {size(done.cost.content)}"
    if done.ours:
        cost = done.cost
        had = f"{share(cost.had, cost.content)} was there already" if cost.had else "none of it was there"
        lines = [f"Published {name}: {content}; {had}, {size(cost.wire)} sent in {duration(cost.seconds)}."]
        lines += [told] if (told := costs.sentence(cost, here=cost.giver_cpu, there=cost.taker_cpu)) else []
    else:
        lines = [f"The same content is there already as {name} ({content}); nothing new was published."]
    kept = [one.name for one in done.wish.kept if one.name != done.wish.variant]
    lines += [f"Beside it, as before: {', '.join(kept)}."] if kept else []
    lines += [_unknown(one) for one, held in done.bases if held is False]
    lines += [done.hint] if done.hint else []
    if done.wish.channel:
        where = f"{done.wish.model}@{done.wish.channel}"
        lines += [f"{where} names it.", f"Next: modelsyncctl assign {where} --node NAME"]
    else:
        lines.append(f"Next: modelsyncctl promote {name} {DEFAULT_CHANNEL}")
    return "\n".join(lines)


def _unknown(base: LocalBase) -> str:
    return (
        f"The hub does not hold {base.path} as it is, so nothing was coded against it: a base is a folder or file"
        " exactly as it was pushed or pulled."
    )
