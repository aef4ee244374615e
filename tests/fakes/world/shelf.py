"""Where a node's arriving chunks become durable: the session's TakerStore on a made-up disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from modelsyncd.codec.registry import decode
from modelsyncd.digest import Digest, digest_of
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Offer, Part
from modelsyncd.session.ports import Keeping, Missing
from modelsyncd.store.version import Version
from tests.fakes.world.disk import Disk, DiskStore


class DiskShelf:
    """Copies from other versions first, as the real one does."""

    def __init__(self, disk: Disk, store: DiskStore, kept: Callable[[Digest, Iterable[int]], None]) -> None:
        self._disk = disk
        self._store = store
        self._kept = kept
        self._serial = asyncio.Lock()

    async def consider(self, offer: Offer) -> Settled | None:
        raise AssertionError("a hub does not offer unasked")

    async def survey(self, offer: Offer, part: Part) -> Missing:
        await self._work()
        disk = self._disk
        disk.check_room()
        wanted = disk.chunks(offer.manifest, part)
        there = disk.durable(offer.manifest, part)
        if part is Part.CONTENT:
            here = {plain for held in disk.versions.values() for plain in held.values()}
            there |= {n: plain for n, plain in enumerate(wanted) if plain in here}
        if self._store.alive:
            disk.staging[offer.manifest, part] = dict(there)
        first = {plain: n for n, plain in reversed(list(enumerate(wanted)))}
        missing = [n for n, plain in enumerate(wanted) if n not in there and first[plain] == n]
        return Missing(list(map(len, wanted)), missing)

    async def keep(self, batch: Sequence[Keep]) -> Keeping:
        disk, manifest, part = self._disk, batch[0].offer.manifest, batch[0].part
        wanted = disk.chunks(manifest, part)
        kept: dict[int, bytes] = {}
        spoiled: list[int] = []
        for one in batch:
            plain = bytes(decode(one.codec, one.payload, len(wanted[one.ordinal])))
            if plain == wanted[one.ordinal]:
                kept[one.ordinal] = plain
            else:
                spoiled.append(one.ordinal)
        disk.check_room()
        if self._store.alive:
            disk.writing.setdefault((manifest, part), {}).update(kept)
        await self._work()
        if self._store.alive:
            disk.check_room()
            if part is Part.CONTENT:
                self._kept(manifest, kept)
            staged = disk.staging.setdefault((manifest, part), {})
            for ordinal, plain in kept.items():
                disk.writing[manifest, part].pop(ordinal, None)
                for twin, other in enumerate(wanted):
                    if other == plain:
                        staged[twin] = plain
        return Keeping(tuple(kept), tuple(spoiled))

    async def complete(self, offer: Offer) -> Settled:
        await self._work()
        release = self._disk.library[offer.manifest].release
        version = Version(release.model, release.number, offer.manifest)
        created = version not in self._disk.versions
        if self._store.alive and created:
            self._disk.check_room()
            self._disk.install(version)
        return Settled(release.number, created, digest_of(offer.release.release))

    async def _work(self) -> None:
        """The disk does one thing at a time, and takes a while for it."""
        async with self._serial:
            await asyncio.to_thread(lambda: None)
