"""`modelsyncctl bundle`: releases that are there already become one that moves, and is switched, as one."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import click

from modelsyncd.bundles import compose
from modelsyncd.ctl import pairs, shape
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.figures import count, size
from modelsyncd.ctl.hub import Hub, connect
from modelsyncd.digest import digest_of, to_text
from modelsyncd.errors import BadInputError, NumberTakenError
from modelsyncd.exchange import manifests
from modelsyncd.exchange.conversation import carry
from modelsyncd.exchange.manifest_giver import ManifestGiver
from modelsyncd.exchange.publishing import NUMBERS_TRIED, Wish, next_number, ref_of, release_of
from modelsyncd.manifest import Manifest
from modelsyncd.names import DEFAULT_CHANNEL, ModelRef, parse_channel, parse_place, parse_ref
from modelsyncd.release import ManifestRef, Member, Release, SignedRelease, Variant, check, check_members
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import OFFER_ID_BYTES, Offer
from modelsyncd.wire.nouns import encode_manifest, encode_release


@dataclass(frozen=True, slots=True)
class Bundled:
    """What came of it."""

    wish: Wish
    members: Sequence[Member]
    ref: ManifestRef
    settled: Settled
    ours: bool


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
    channel: str | None,
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
    note: str,
) -> None:
    """Publish a bundle of releases as a model's next release.

    Its members' files lie below their places. Nodes fetch, verify and switch it whole, or not at all; of its content
    nothing travels to the hub.
    """
    ref = parse_ref(model)
    if ref != ModelRef(ref.model):
        raise BadInputError(f"{ref} names a release, and the bundle becomes a new one", hint=f"write {ref.model}")
    moved = parse_channel(channel) if channel else ""
    wish = Wish(ref.model, moved, pairs.labels(labels), pairs.metrics(metrics), note)
    asked.run(_create(asked, wish, _members(members)), interrupted="Nothing was published, unless it says so above.")


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


async def _create(asked: Asked, wish: Wish, members: Mapping[str, ModelRef]) -> None:
    async with connect(asked) as hub:
        done = await _publish(hub, wish, members)
    asked.answer(describe(done), text(done))


async def _publish(hub: Hub, wish: Wish, wanted: Mapping[str, ModelRef]) -> Bundled:
    members, parts = await _look(hub, wanted)
    manifest = compose(parts)
    data = encode_manifest(manifest)
    ref, created_at, wish_id = ref_of(manifest, data), int(time.time()), os.urandom(OFFER_ID_BYTES)
    for tried in range(1, NUMBERS_TRIED + 1):
        number = await next_number(hub, wish.model)
        bare = release_of(wish, ref, number, hub.me, created_at)
        release = encode_release(check(replace(bare, members=tuple(members))))
        offer = Offer(SignedRelease(release), ref.digest, wish.channel, wish_id)
        try:
            settled = await _offer(hub, offer, ManifestGiver(ref.digest, data))
        except NumberTakenError:
            if tried == NUMBERS_TRIED:
                raise
            continue
        break
    return Bundled(wish, members, ref, settled, settled.created or settled.release_digest == digest_of(release))


async def _look(hub: Hub, wanted: Mapping[str, ModelRef]) -> tuple[list[Member], dict[str, Manifest]]:
    members: list[Member] = []
    parts: dict[str, Manifest] = {}
    for place, ref in wanted.items():
        view = await hub.release(str(ref))
        members.append(Member(ref.model, view.number, digest_of(view.signed.release), place))
        parts[place] = await manifests.fetch(hub, view, _form(view.number, ref, shape.opened(view)))
    check_members(members)
    return members, parts


def _form(number: int, ref: ModelRef, release: Release) -> Variant:
    if len(release.variants) != 1:
        names = ", ".join(variant.name for variant in release.variants)
        raise BadInputError(
            f"{ref.model}:{number} comes in {len(release.variants)} forms ({names}), and a bundle has one",
            safe="nothing was published",
            hint=f"modelsyncctl pull {ref.model}:{number} DIR --variant NAME; push DIR as another model, take that",
        )
    return release.variants[0]


async def _offer(hub: Hub, offer: Offer, giver: ManifestGiver) -> Settled:
    return await carry(hub, lambda pump: pump.say(offer), offer.manifest, giver=giver)


def describe(done: Bundled) -> dict[str, object]:
    """For programs."""
    return {
        "model": str(done.wish.model),
        "number": done.settled.number,
        "created": done.ours,
        "channel": done.wish.channel or None,
        "release_digest": to_text(done.settled.release_digest),
        "manifest_digest": to_text(done.ref.digest),
        "files": done.ref.files,
        "bytes": done.ref.content_size,
        "members": [
            {"model": str(member.model), "number": member.number, "place": member.place} for member in done.members
        ],
    }


def text(done: Bundled) -> str:
    """For people, with what to type next."""
    name = f"{done.wish.model}:{done.settled.number}"
    content = f"{count(done.ref.files, 'file')}, {size(done.ref.content_size)}"
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
