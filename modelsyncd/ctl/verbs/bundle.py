"""`modelsyncctl bundle`: releases that are there already become one that moves, and is switched, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from modelsyncd.ctl import pairs, shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import count, size
from modelsyncd.ctl.hub import connect
from modelsyncd.digest import to_text
from modelsyncd.errors import BadInputError
from modelsyncd.exchange.bundling import Bundled, bundle
from modelsyncd.exchange.publishing import Wish
from modelsyncd.names import DEFAULT_CHANNEL, ModelRef, parse_channel, parse_place, parse_ref, parse_variant


@click.group("bundle")
def command() -> None:
    """Put releases together into one that moves as one."""


@command.command("create")
@click.argument("model")
@click.option(
    *("--member", "members"),
    multiple=True,
    metavar="[PLACE=]RELEASE",
    help="A release and the folder of its files (else its model's last name), as in big=acme/big:4; repeatable.",
)
@click.option(
    *("--variant", "variants"),
    multiple=True,
    metavar="PLACE:NAME",
    help="Take only this form of a member that comes in several; repeatable.",
)
@click.option("--channel", metavar="C", help="Move this channel to the new release.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label of the release; repeatable.")
@click.option("--metric", "metrics", multiple=True, metavar="K=V", help="A number known about it; repeatable.")
@click.option("--note", default="", help="A sentence for people.")
@asked
def create(
    asked: Asked,
    *,
    model: str,
    members: tuple[str, ...],
    variants: tuple[str, ...],
    channel: str | None,
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
    note: str,
) -> None:
    """Publish a bundle of releases as a model's next release.

    Its members' files lie below their places. Nodes fetch, verify and switch it whole, or not at all; of its content
    nothing travels to the hub. Of members that come in several forms each node gets the one that it would get alone.
    """
    ref = parse_ref(model)
    if ref != ModelRef(ref.model):
        raise BadInputError(f"{ref} names a release, and the bundle becomes a new one", hint=f"write {ref.model}")
    moved = parse_channel(channel) if channel else ""
    wish = Wish(ref.model, moved, pairs.labels(labels), pairs.metrics(metrics), note)
    found = _members(members)
    work = _create(asked, wish, found, _only(variants, found))
    asked.run(work, interrupted="Nothing was published, unless it says so above.")


def _members(arguments: Sequence[str]) -> dict[str, ModelRef]:
    found: dict[str, ModelRef] = {}
    for argument in arguments:
        place, equals, release = argument.partition("=")
        ref = parse_ref(release if equals else argument)
        place = parse_place(place if equals else str(ref.model).rpartition("/")[2])
        if place in found:
            raise BadInputError(f"two members have the place {place!r}", hint="name one, as in big=acme/big:4")
        found[place] = ref
    if not found:
        raise BadInputError("a bundle needs members", hint="--member little=acme/little@edge --member big=acme/big:4")
    return dict(sorted(found.items()))


def _only(arguments: Sequence[str], members: Mapping[str, ModelRef]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for argument in arguments:
        place, colon, name = argument.partition(":")
        if not colon or place not in members:
            raise BadInputError(
                f"{argument[:80]!r} names no form of a member",
                hint=f"write it as --variant {next(iter(members))}:NAME",
            )
        found.setdefault(place, []).append(parse_variant(name))
    return found


async def _create(asked: Asked, wish: Wish, members: Mapping[str, ModelRef], only: Mapping[str, Sequence[str]]) -> None:
    async with connect(asked) as hub:
        done = await bundle(hub, wish, members, only)
    asked.answer(describe(done), text(done))


def describe(done: Bundled) -> dict[str, object]:
    """For programs; of several forms `manifest_digest`, `files` and `bytes` are the first one's."""
    first = done.variants[0].manifest
    return {
        "model": str(done.wish.model),
        "number": done.settled.number,
        "created": done.ours,
        "channel": done.wish.channel or None,
        "release_digest": to_text(done.settled.release_digest),
        "manifest_digest": to_text(first.digest),
        "files": first.files,
        "bytes": first.content_size,
        "members": [
            {"model": str(member.model), "number": member.number, "place": member.place} for member in done.members
        ],
        "variants": [shape.variant(one) for one in done.variants],
    }


def text(done: Bundled) -> str:
    """For people, with what to type next."""
    name = f"{done.wish.model}:{done.settled.number}"
    first = done.variants[0].manifest
    content = f"{count(first.files, 'file')}, {size(first.content_size)}"
    if len(done.variants) > 1:
        content = f"{len(done.variants)} forms, {', '.join(one.name for one in done.variants)}"
    parts = ", ".join(f"{member.place}/ from {member.model}:{member.number}" for member in done.members)
    if done.ours:
        lines = [f"Published {name}: {content}; {parts}."]
    else:
        lines = [f"The same content is there already as {name} ({content}); nothing new was published."]
    if done.wish.channel:
        where = f"{done.wish.model}@{done.wish.channel}"
        lines += [f"{where} names it.", f"Next: modelsyncctl assign {where} --node NAME"]
    else:
        lines.append(f"Next: modelsyncctl promote {name} {DEFAULT_CHANNEL}")
    return "\n".join(lines)
