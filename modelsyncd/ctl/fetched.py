"""The only place where a person's command fetches a variant of a release into a folder, and counts what that took."""

from __future__ import annotations

import time

from modelsyncd.ctl.cost import Cost
from modelsyncd.ctl.hub import Hub
from modelsyncd.ctl.progress import meter
from modelsyncd.ctl.retry import insist
from modelsyncd.ctl.tally import Tally
from modelsyncd.exchange.conversation import carry
from modelsyncd.exchange.folder_taker import FolderTaker
from modelsyncd.exchange.manifests import offer_of
from modelsyncd.release import Variant
from modelsyncd.session.progress import Progress
from modelsyncd.wire.v1 import catalog_pb2 as pb


async def fetched(
    hub: Hub, view: pb.ReleaseView, variant: Variant, taker: FolderTaker, *, silent: bool, retry: bool
) -> Cost:
    """Fills the taker's folder, over as many tries as it takes, and closes it. Raises what ends a transfer."""
    offer, tally, began = offer_of(view, variant), Tally(variant.manifest.content_size), time.monotonic()
    try:
        with meter(f"pulling {view.model}:{view.number}", silent=silent) as shown:

            def show(progress: Progress) -> None:
                tally.taken(progress)
                shown.show(tally.step)

            async def attempt() -> None:
                tally.begin()
                await carry(hub, lambda pump: pump.take(offer), offer.manifest, taker=taker, show=show)

            await insist(attempt, retry=retry, note=shown.note, moved=lambda: taker.wire)
    finally:
        taker.close()
    return Cost(
        content=variant.manifest.content_size,
        had=taker.had,
        coded=tally.coded,
        wire=taker.wire,
        giver_cpu=tally.giver_cpu,
        taker_cpu=tally.taker_cpu,
        seconds=time.monotonic() - began,
    )
