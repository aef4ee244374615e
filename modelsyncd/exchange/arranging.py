"""The only place that publishes a release of variants that the hub has already, so that nothing travels."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest
from modelsyncd.errors import DamageError, NumberTakenError
from modelsyncd.exchange.conversation import carry
from modelsyncd.exchange.hub import Hub
from modelsyncd.exchange.publishing import NUMBERS_TRIED, Wish, next_number, release_of
from modelsyncd.exchange.retry import insist
from modelsyncd.release import ManifestRef, SignedRelease
from modelsyncd.session.events import Encoded, Settled
from modelsyncd.session.frames import OFFER_ID_BYTES, Offer, Part
from modelsyncd.wire.nouns import encode_release


async def arrange(hub: Hub, wish: Wish, ref: ManifestRef) -> Settled:
    """Publishes the wish with a manifest that a release of the same model has.

    Raises NumberTakenError when others are always first, DamageError when the hub has lost some of it, and what it
    refuses it with.
    """
    wish_id, created_at = wish.id or os.urandom(OFFER_ID_BYTES), int(time.time())
    number = await insist(lambda: next_number(hub, wish.model))
    for tried in range(1, NUMBERS_TRIED + 1):
        release = encode_release(release_of(wish, ref, number, hub.me, created_at))
        offer = Offer(SignedRelease(release), ref.digest, wish.channel, wish_id)
        try:
            return await _offered(hub, offer, _NotHere(f"{wish.variant} of {wish.model}"))
        except NumberTakenError as error:
            if tried == NUMBERS_TRIED:
                raise
            number = error.next_number or await insist(lambda: next_number(hub, wish.model))
    raise AssertionError("the last try returns or raises")


async def _offered(hub: Hub, offer: Offer, giver: _NotHere) -> Settled:
    return await insist(lambda: carry(hub, lambda pump: pump.say(offer), offer.manifest, giver=giver))


class _NotHere:
    """A GiverStore that has nothing."""

    def __init__(self, what: str) -> None:
        self._what = what

    async def load(
        self,
        manifest: Digest,
        part: Part,
        ordinals: Sequence[int],
        codecs: frozenset[Codec],
        bases: Sequence[Digest],
        *,
        rate: float = 0.0,
    ) -> Sequence[Encoded]:
        raise DamageError(
            f"{self._what} is not whole at the hub any more",
            safe="nothing was published",
            hint="modelsync-hub verify says what is lost; make it again: modelsyncctl derive … --again",
        )
