"""The only place that brings a release into a rack: verified and whole, or not there at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from modelsyncd.errors import LockedError
from modelsyncd.exchange.conversation import carry
from modelsyncd.exchange.folder_taker import FolderTaker
from modelsyncd.exchange.hub import Hub
from modelsyncd.exchange.manifests import offer_of, usual_variant
from modelsyncd.exchange.rack import Rack, Racked
from modelsyncd.exchange.retry import insist
from modelsyncd.names import parse_model
from modelsyncd.release import Release, Variant
from modelsyncd.session.progress import Progress
from modelsyncd.store.version import Version
from modelsyncd.wire.nouns import decode_release
from modelsyncd.wire.v1 import catalog_pb2 as pb

_LOOK_EVERY = 0.2  # seconds between two looks at what another process fetches

Show = Callable[[Progress], None]


def version_of(view: pb.ReleaseView) -> tuple[Version, Variant, Release]:
    """What a release's content is called in a rack. Raises BadInputError for one without content."""
    release = decode_release(view.signed.release)
    variant = usual_variant(release)
    return Version(parse_model(view.model), view.number, variant.manifest.digest), variant, release


async def fetch(hub: Hub, rack: Rack, view: pb.ReleaseView, show: Show = lambda _: None) -> Racked:
    """The release, from the rack if it is there, else from the hub, for as long as that takes.

    What an earlier try left is used, and what the rack has of the model. Another process that fetches the same is
    waited for. Raises what the hub refuses it with, DiskError, DiskFullError.
    """
    version, variant, _release = version_of(view)
    while True:
        found = await asyncio.to_thread(rack.find, version)
        if found is not None:
            await asyncio.to_thread(rack.use, found)
            return found
        bases = await asyncio.to_thread(rack.bases, version.model)
        try:
            manifest = await _take(
                hub,
                view,
                variant,
                FolderTaker(rack.folder(version), variant, view.number, force=True, bases=bases),
                show,
            )
        except LockedError:
            await asyncio.sleep(_LOOK_EVERY)
            continue
        finally:
            for base in bases:
                base.source.close()
        return await asyncio.to_thread(rack.enter, version, manifest)


async def _take(hub: Hub, view: pb.ReleaseView, variant: Variant, taker: FolderTaker, show: Show) -> bytes:
    offer = offer_of(view, variant)

    async def attempt() -> None:
        await carry(hub, lambda pump: pump.take(offer), offer.manifest, taker=taker, show=show)

    try:
        await insist(attempt, moved=lambda: taker.wire)
        return taker.manifest_bytes
    finally:
        taker.close()
