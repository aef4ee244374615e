"""The taker behind a pull: chunks come together in a hidden folder, and the files appear in DEST once all are right.

    DEST is not there:  beside it  .modelsyncd-NAME-DIGEST12/   then one rename, all files at once
    DEST is a folder:   inside it  .modelsyncd-DIGEST12/        then one rename for each file

Below the hidden folder: `lock`, `manifest` (its pieces as far as they are here) and `files/` (the staging). The name is
made from the manifest's digest, so that any later pull of the same content finds it and goes on; one of other content
takes from it what it can, and removes it when it is whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from modelsyncd.digest import Digest, digest_of, short
from modelsyncd.errors import ConflictError, ProtocolError, RefusedError
from modelsyncd.exchange.assembly import Assembly
from modelsyncd.exchange.bases import finder, of_folder
from modelsyncd.exchange.destination import Look, look, refuse_losses, settle
from modelsyncd.exchange.local_base import LocalBase
from modelsyncd.exchange.pieces import Pieces
from modelsyncd.exchange.remains import FILES, LOCK, MANIFEST, WORK, Remains
from modelsyncd.exchange.thread import Check, in_thread
from modelsyncd.manifest import Manifest
from modelsyncd.release import Variant
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Offer, Part
from modelsyncd.session.ports import Keeping, Missing
from modelsyncd.store.durable import Lock, disk_errors, lock_folder, remove_tree, write_file
from modelsyncd.store.held import Held


class FolderTaker:
    """A TakerStore that fills a folder with one variant of one release. `close` it in the end."""

    def __init__(
        self, folder: Path, variant: Variant, number: int, *, force: bool, bases: Sequence[LocalBase] = ()
    ) -> None:
        """`bases` are what the release may be coded against, besides what the folder holds."""
        self.folder = folder.absolute()
        self.work = work_folder(self.folder, variant)
        self.placed = 0
        """Files that were put into the folder."""
        self.had = 0
        """Plain bytes of the content that were here before the first try fetched anything."""
        self.wire = 0
        """Encoded bytes that arrived, in all tries, the manifest's own included."""
        self._surveyed = False
        self._variant = variant
        self._number = number
        self._force = force
        self._bases = tuple(bases)
        self._held = Held(finder(self._bases))
        self._lock: Lock | None = None
        self._pieces: Pieces | None = None
        self._assembly: Assembly | None = None
        self._remains: Remains | None = None

    @property
    def manifest_bytes(self) -> bytes:
        """The manifest, byte for byte, once the transfer is complete. Raises ProtocolError before it came."""
        return self._known().data()

    async def consider(self, offer: Offer) -> Settled | None:
        """Nothing may be sent here unasked. Raises RefusedError."""
        raise RefusedError("nothing can be sent here unasked")

    async def survey(self, offer: Offer, part: Part) -> Missing:
        """What is not here yet, neither in the hidden folder nor in DEST.

        Raises ConflictError before any content is fetched when files in DEST would be lost; LockedError, DiskError.
        """
        return await in_thread(self._survey_manifest if part is Part.MANIFEST else self._survey_content)

    async def keep(self, batch: Sequence[Keep]) -> Keeping:
        """Verifies arrivals and makes them durable. Raises DiskError."""
        return await asyncio.to_thread(self._keep, batch)

    async def complete(self, offer: Offer) -> Settled:
        """Puts the files into their places. Raises DamageError, DiskError."""
        await asyncio.to_thread(self._complete)
        return Settled(self._number, created=self.placed > 0, release_digest=digest_of(offer.release.release))

    def close(self) -> None:
        """Lets go of the hidden folder; what is in it stays for the next try."""
        self._held.close()
        if self._assembly is not None:
            self._assembly.close()
        if self._remains is not None:
            self._remains.close()
            self._remains = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _survey_manifest(self, _check: Check) -> Missing:
        if self._lock is None:
            self._lock = lock_folder(self.work, LOCK)
            self._remains = Remains(self.folder, self.work)
        saved = self.work / MANIFEST
        with disk_errors(saved):
            held = saved.read_bytes() if saved.is_file() else b""
        self._pieces = Pieces(self._variant.manifest, held)
        return Missing(self._pieces.sizes, self._pieces.missing)

    def _survey_content(self, check: Check) -> Missing:
        manifest = self._known().manifest()
        looks = list(look(self.folder, manifest, check))
        try:
            self._refuse_losses(looks)
            settle(self.folder, looks)
            if self._assembly is not None:
                self._assembly.close()
            remains = self._remains = self._remains or Remains(self.folder, self.work)
            self._assembly = Assembly(self.work / FILES, manifest, looks, remains, self._bases)
            missing = self._count(self._assembly.fill(check))
            return replace(missing, bases=self._name_bases(manifest, looks, check)) if missing.ordinals else missing
        finally:
            for one in looks:
                if one.found is not None:
                    one.found.close()

    def _count(self, missing: Missing) -> Missing:
        if not self._surveyed:
            self._surveyed = True
            self.had = sum(missing.sizes) - sum(missing.sizes[ordinal] for ordinal in missing.ordinals)
        return missing

    def _name_bases(self, manifest: Manifest, looks: Sequence[Look], check: Check) -> tuple[Digest, ...]:
        there = of_folder(self.folder, looks, manifest.chunking, WORK, check)
        bases = self._bases if there is None else (*self._bases, there)
        self._held.close()
        self._held = Held(finder(bases))
        self._held.names = tuple(dict.fromkeys(one.name for one in bases))
        return self._held.names

    def _refuse_losses(self, looks: Sequence[Look]) -> None:
        try:
            refuse_losses(self.folder, looks, force=self._force)
        except ConflictError:
            if not (self.work / FILES).exists():
                remove_tree(self.work)  # a folder that stays as it was has nothing hidden in it either
                self.close()
            raise

    def _keep(self, batch: Sequence[Keep]) -> Keeping:
        self.wire += sum(len(arrival.payload) for arrival in batch)
        if batch[0].part is Part.CONTENT and self._assembly is not None:
            try:
                return self._assembly.keep(batch, self._held)
            finally:
                self._held.rest()
        keeping = self._known().keep(batch)
        write_file(self.work / MANIFEST, self._known().data())
        return keeping

    def _complete(self) -> None:
        if self._assembly is None:
            raise ProtocolError("the version was completed before it was surveyed")
        self.placed = self._assembly.finish(self.folder)
        self._assembly.close()
        remove_tree(self.work)
        if self._remains is not None:
            self._remains.clear()

    def _known(self) -> Pieces:
        if self._pieces is None:
            raise ProtocolError("the content came before the manifest")
        return self._pieces


def work_folder(folder: Path, variant: Variant) -> Path:
    """Where a pull's chunks come together: on the same file system as the folder."""
    digest12 = short(variant.manifest.digest)
    if folder.is_dir():
        return folder / f"{WORK}{digest12}"
    return folder.parent / f"{WORK}{folder.name}-{digest12}"
