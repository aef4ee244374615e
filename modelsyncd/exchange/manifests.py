"""The only place that fetches a release's manifest to look at it, without its content."""

from __future__ import annotations

from collections.abc import Sequence

from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, RefusedError
from modelsyncd.exchange.conversation import carry
from modelsyncd.exchange.hub import Hub
from modelsyncd.exchange.pieces import Pieces
from modelsyncd.manifest import Manifest
from modelsyncd.names import nearest
from modelsyncd.release import DEFAULT_VARIANT, Release, Variant
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Offer, Part
from modelsyncd.session.ports import Keeping, Missing
from modelsyncd.wire.nouns import decode_release, signed_from_pb
from modelsyncd.wire.v1 import catalog_pb2 as pb


class ManifestTaker:
    """A TakerStore that wants a manifest and none of its content."""

    def __init__(self, pieces: Pieces, number: int) -> None:
        self._pieces = pieces
        self._number = number

    async def consider(self, offer: Offer) -> Settled | None:
        """Nothing may be sent here unasked. Raises RefusedError."""
        raise RefusedError("nothing can be sent here unasked")

    async def survey(self, offer: Offer, part: Part) -> Missing:
        """The manifest's pieces; of the content, nothing is wanted."""
        if part is Part.MANIFEST:
            return Missing(self._pieces.sizes, self._pieces.missing)
        return Missing((), ())

    async def keep(self, batch: Sequence[Keep]) -> Keeping:
        """Takes pieces."""
        return self._pieces.keep(batch)

    async def complete(self, offer: Offer) -> Settled:
        """There is nothing to commit."""
        return Settled(self._number, created=False, release_digest=digest_of(offer.release.release))


def offer_of(view: pb.ReleaseView, variant: Variant) -> Offer:
    """What to ask the hub for."""
    return Offer(signed_from_pb(view.signed), variant.manifest.digest)


def variant_of(release: Release, name: str | None) -> Variant:
    """The variant of that name; without a name, the only one or the default one. Raises BadInputError."""
    names = [variant.name for variant in release.variants]
    ref = f"{release.model}:{release.number}"
    if not names:
        raise BadInputError(f"{ref} has no content", hint=f"modelsyncctl show {ref}")
    wanted = name or (names[0] if len(names) == 1 else DEFAULT_VARIANT)
    for variant in release.variants:
        if variant.name == wanted:
            return variant
    close = nearest(wanted, names) or names[:5]
    raise BadInputError(f"{ref} has no variant {wanted!r}", hint=f"choose one: --variant {' or '.join(close)}")


async def fetch(hub: Hub, view: pb.ReleaseView, variant: Variant) -> Manifest:
    """A variant's manifest. Raises RoadError, RefusedError, DamageError."""
    pieces = Pieces(variant.manifest)
    offer = offer_of(view, variant)
    await carry(hub, lambda pump: pump.take(offer), offer.manifest, taker=ManifestTaker(pieces, view.number))
    return pieces.manifest()


def first_variant(view: pb.ReleaseView) -> Variant:
    """The variant to look at when none was named. Raises BadInputError when it has none."""
    return usual_variant(decode_release(view.signed.release))


def usual_variant(release: Release) -> Variant:
    """The variant that is meant when none was named: the default one, else the first.

    Raises BadInputError when it has none.
    """
    names = [variant.name for variant in release.variants]
    return variant_of(release, names[0] if names and DEFAULT_VARIANT not in names else None)
