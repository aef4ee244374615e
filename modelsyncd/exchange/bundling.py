"""The only place that publishes a bundle: its members are at the hub, so that of its forms only manifests travel."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from modelsyncd.bundle_forms import bundle_forms
from modelsyncd.bundles import compose
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, DamageError, NumberTakenError
from modelsyncd.exchange import manifests
from modelsyncd.exchange.conversation import carry
from modelsyncd.exchange.hub import Hub
from modelsyncd.exchange.manifest_giver import ManifestGiver
from modelsyncd.exchange.publishing import NUMBERS_TRIED, ROUNDS, Wish, next_number, ref_of, release_of
from modelsyncd.manifest import Manifest
from modelsyncd.names import ModelRef, nearest
from modelsyncd.release import Member, Release, SignedRelease, Variant, check, check_members
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import OFFER_ID_BYTES, PART_OF_IT, Offer
from modelsyncd.wire.nouns import decode_release, encode_manifest, encode_release


@dataclass(frozen=True, slots=True)
class Bundled:
    """What came of it; `ours` is False when the same content was there already."""

    wish: Wish
    members: Sequence[Member]
    variants: Sequence[Variant]
    settled: Settled
    ours: bool


async def bundle(hub: Hub, wish: Wish, wanted: Mapping[str, ModelRef], only: Mapping[str, Collection[str]]) -> Bundled:
    """Publishes a bundle of these releases by place; `only` names the forms that it takes of a member, else all.

    Raises BadInputError and LimitError for what can be no bundle, NotFoundError, NumberTakenError when others are
    always first, DamageError when the hub has lost some of it, and what it refuses it with.
    """
    members, variants, givers = await _prepared(hub, wanted, only)
    created_at, wish_id = int(time.time()), os.urandom(OFFER_ID_BYTES)
    for tried in range(1, NUMBERS_TRIED + 1):
        number = await next_number(hub, wish.model)
        bare = release_of(wish, variants[0].manifest, number, hub.me, created_at)
        release = encode_release(check(replace(bare, members=members, variants=variants)))
        offers = [Offer(SignedRelease(release), one.manifest.digest, wish.channel, wish_id) for one in variants]
        try:
            settled = await _offered(hub, offers, givers)
        except NumberTakenError:
            if tried == NUMBERS_TRIED:
                raise
            continue
        break
    return Bundled(wish, members, variants, settled, settled.created or settled.release_digest == digest_of(release))


async def _prepared(
    hub: Hub, wanted: Mapping[str, ModelRef], only: Mapping[str, Collection[str]]
) -> tuple[tuple[Member, ...], tuple[Variant, ...], Sequence[ManifestGiver]]:
    views = {place: await hub.release(str(ref)) for place, ref in wanted.items()}
    opened = {place: decode_release(view.signed.release) for place, view in views.items()}
    members = tuple(
        Member(wanted[place].model, view.number, digest_of(view.signed.release), place) for place, view in views.items()
    )
    check_members(members)
    forms = bundle_forms({place: _taken(place, opened[place], only.get(place, ())) for place in wanted})
    trees: dict[str, dict[str, Manifest]] = {place: {} for place in wanted}
    variants: list[Variant] = []
    givers: list[ManifestGiver] = []
    for form in forms:
        for place, part in form.parts.items():
            if part.name not in trees[place]:
                trees[place][part.name] = await manifests.fetch(hub, views[place], part)
        manifest = compose({place: trees[place][part.name] for place, part in form.parts.items()})
        data = encode_manifest(manifest)
        ref = ref_of(manifest, data)
        variants.append(Variant(form.name, ref, form.selector))
        givers.append(ManifestGiver(ref.digest, data))
    return members, tuple(variants), givers


def _taken(place: str, release: Release, names: Collection[str]) -> Sequence[Variant]:
    """The forms of a member that the bundle takes. Raises BadInputError."""
    known = [variant.name for variant in release.variants]
    for name in names:
        if name not in known:
            raise BadInputError(
                f"{release.model}:{release.number} has no variant {name!r}",
                safe="nothing was published",
                hint=f"choose one: --variant {place}:{(nearest(name, known) or known)[0]}",
            )
    return [variant for variant in release.variants if not names or variant.name in names]


async def _offered(hub: Hub, offers: Sequence[Offer], givers: Sequence[ManifestGiver]) -> Settled:
    """Offers each form until the release is committed."""
    for _ in range(ROUNDS):
        for offer, giver in zip(offers, givers, strict=True):
            settled = await _offer(hub, offer, giver)
            if settled.number != PART_OF_IT:
                return settled
    raise DamageError(
        "a form of the bundle is not whole at the hub any more",
        safe="nothing was published",
        hint="modelsyncctl verify says which release lost chunks; pushing its content again brings them back",
    )


async def _offer(hub: Hub, offer: Offer, giver: ManifestGiver) -> Settled:
    return await carry(hub, lambda pump: pump.say(offer), offer.manifest, giver=giver)
