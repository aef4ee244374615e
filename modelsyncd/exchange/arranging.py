"""The only place that publishes a release of variants that the hub has already, so that nothing travels."""

from __future__ import annotations

import os
import time

from modelsyncd.errors import NumberTakenError
from modelsyncd.exchange.conversation import carry
from modelsyncd.exchange.hub import Hub
from modelsyncd.exchange.publishing import NUMBERS_TRIED, Wish, next_number, release_of
from modelsyncd.exchange.retry import insist
from modelsyncd.release import ManifestRef, SignedRelease
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import OFFER_ID_BYTES, Offer
from modelsyncd.wire.nouns import encode_release


async def arrange(hub: Hub, wish: Wish, ref: ManifestRef) -> Settled:
    """Publishes the wish with a manifest that a release of the same model has.

    Raises NumberTakenError when others are always first, and what the hub refuses it with: what it wants to be given,
    because it has lost it, is not there.
    """
    wish_id, created_at = wish.id or os.urandom(OFFER_ID_BYTES), int(time.time())
    number = await insist(lambda: next_number(hub, wish.model))
    for tried in range(1, NUMBERS_TRIED + 1):
        release = encode_release(release_of(wish, ref, number, hub.me, created_at))
        offer = Offer(SignedRelease(release), ref.digest, wish.channel, wish_id)
        try:
            return await _offered(hub, offer)
        except NumberTakenError as error:
            if tried == NUMBERS_TRIED:
                raise
            number = error.next_number or await insist(lambda: next_number(hub, wish.model))
    raise AssertionError("the last try returns or raises")


async def _offered(hub: Hub, offer: Offer) -> Settled:
    return await insist(lambda: carry(hub, lambda pump: pump.say(offer), offer.manifest))
