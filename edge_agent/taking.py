"""The only place where one manifest arrives on a node: its own pieces first, then its content, then the version.

Everything here blocks and is called from worker threads; a lock keeps the calls for one manifest in line.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

from edge_agent.bases import find, likely
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import BadInputError, DamageError, DiskError, NotFoundError
from modelsyncd.manifest import File, Manifest, piece_sizes
from modelsyncd.release import ManifestRef, Release
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Offer, Part
from modelsyncd.session.ports import Keeping, Missing
from modelsyncd.session.progress import Progress
from modelsyncd.store import durable
from modelsyncd.store.arrivals import Arrivals
from modelsyncd.store.cache import Cache
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.held import Held
from modelsyncd.store.seeds import Seeds
from modelsyncd.store.staging import Staging
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.usage import written
from modelsyncd.store.version import Version

_NO_SHA256 = bytes(32)  # a manifest on its way is named by BLAKE3 alone


class Taking:
    """What is on its way of one manifest."""

    def __init__(self, manifest: Digest, tree: EdgeTree, cache: Cache, seeds: Seeds) -> None:
        self.lock = threading.Lock()
        """Held by whoever calls a method."""
        self.progress = Progress()
        self._name = manifest
        self._tree = tree
        self._cache = cache
        self._seeds = seeds
        self._held = Held(partial(find, tree))
        self._pieces: Staging | None = None
        self._content: Staging | None = None
        self._written = written()

    @property
    def lent(self) -> tuple[Digest, ...]:
        """Manifests that the giver may code against."""
        return self._held.names

    def survey(self, offer: Offer, part: Part) -> Missing:
        """What is missing of one part. Raises BadInputError, DamageError, DiskError."""
        release = self._tree.nouns.decode_release(offer.release.release)
        ref = release.variant(self._name).manifest
        return self._survey_pieces(ref) if part is Part.MANIFEST else self._survey_content(release, ref, offer)

    def keep(self, offer: Offer, batch: Sequence[Keep]) -> Keeping:
        """Decodes, verifies and writes arrivals of one part; all are durable on return. Raises DiskError."""
        part = batch[0].part
        staging = self._staging(offer, part)
        arrivals = Arrivals(batch, staging, self._held)
        try:
            staging.write(arrivals)
        finally:
            self._held.rest()
        keeping = arrivals.keeping()
        if part is Part.CONTENT and keeping.kept:
            passing(Point.CHUNKS_SYNCED)
            self._note(staging, keeping.kept)
        return keeping

    def complete(self, offer: Offer) -> Settled:
        """Makes the version of what is here. Raises DamageError when something is missing, DiskError."""
        release = self._tree.nouns.decode_release(offer.release.release)
        version = Version(release.model, release.number, self._name)
        settled = Settled(release.number, created=True, release_digest=digest_of(offer.release.release))
        if self._tree.holds(version) and self._tree.release_digest(version) == settled.release_digest:
            return Settled(settled.number, created=False, release_digest=settled.release_digest)
        if self._content is None:
            self._survey_content(release, release.variant(self._name).manifest, offer)
        if self._content is not None:
            self._install(version, offer, self._content)
        elif not self._tree.adopt(version, offer.release):
            raise DamageError(
                f"{version.model}:{version.number} changed while it was taken in", hint="it is tried again"
            )
        return settled

    def close(self) -> None:
        """Closes files; what is durable stays, and another object may go on."""
        self._held.close()
        for staging in (self._pieces, self._content):
            if staging is not None:
                staging.close()

    # --- the manifest itself ---

    def _survey_pieces(self, ref: ManifestRef) -> Missing:
        sizes = piece_sizes(ref.size)
        if self._tree.has_manifest(self._name):
            return Missing(sizes, ())
        staging = self._pieces_of(ref)
        staging.prepare()
        return Missing(sizes, staging.missing())

    def _pieces_of(self, ref: ManifestRef) -> Staging:
        """A manifest on its way is staged like any file, as the only one of a folder."""
        if self._pieces is None:
            file = File("manifest", ref.size, _NO_SHA256, False, tuple(piece_sizes(ref.size)), ref.chunk_digests)
            self._pieces = Staging(self._tree.layout.staged_manifest(self._name), Manifest((file,)))
        return self._pieces

    def _manifest(self, ref: ManifestRef) -> Manifest:
        """The manifest, out of its pieces if it was still in staging. Raises DamageError, BadInputError, DiskError."""
        if self._content is not None:
            return self._content.manifest
        try:
            manifest = self._tree.manifest(self._name)
        except (NotFoundError, DamageError):
            manifest = self._assembled(ref)
        durable.remove_tree(self._tree.layout.staged_manifest(self._name))
        passing(Point.PIECES_DROPPED)
        self._pieces = None
        if (manifest.content_size, len(manifest.files)) != (ref.content_size, ref.files):
            raise BadInputError(
                f"the release speaks of {ref.files} files with {ref.content_size} bytes, its manifest of"
                f" {len(manifest.files)} with {manifest.content_size}"
            )
        return manifest

    def _assembled(self, ref: ManifestRef) -> Manifest:
        staging = self._pieces_of(ref)
        staging.prepare()
        if staging.missing():
            raise DamageError(f"manifest {self._name.hex()[:12]} is not here whole", hint="it is fetched again")
        whole = b"".join(staging.read(ordinal) for ordinal in range(len(staging.table)))
        return self._tree.put_manifest(self._name, whole)

    # --- the content ---

    def _survey_content(self, release: Release, ref: ManifestRef, offer: Offer) -> Missing:
        if not self._cache.aligned:
            self._seeds.align()
        manifest = self._manifest(ref)
        version = Version(release.model, release.number, self._name)
        if self._tree.holds(version) or self._tree.adopt(version, offer.release):
            self._content = None
            self.progress = Progress(ref.content_size, ref.content_size, ref.content_size)
            sizes = [size for file in manifest.files for size in file.chunk_sizes]
            return Missing(sizes, ())
        staging = self._content = self._content or Staging(self._tree.layout.staged(self._name), manifest)
        staging.prepare()
        missing = self._recorded_and_seeded(staging)
        had = staging.bytes_present()
        first = self.progress.total == 0  # a later session begins with what an earlier one fetched
        self.progress = Progress(ref.content_size, had if first else self.progress.had, had)
        self._held.names = likely(self._tree.observed(), release.model, self._name) if missing else ()
        return Missing(staging.table.sizes, missing, self._held.names)

    def _recorded_and_seeded(self, staging: Staging) -> list[int]:
        recorded = self._cache.recorded(self._name)
        missing = staging.missing(recorded)
        found = [ordinal for ordinal in staging.present() if ordinal not in recorded]
        if found:
            self._cache.record(self._name, map(staging.table.chunk, found))
        return self._seeds.fill(self._name, staging, missing)

    def _staging(self, offer: Offer, part: Part) -> Staging:
        """Where arrivals of a part go; surveyed anew if this object was made in the middle of a transfer."""
        staging = self._pieces if part is Part.MANIFEST else self._content
        if staging is None:
            self.survey(offer, part)
            staging = self._pieces if part is Part.MANIFEST else self._content
        if staging is None:
            raise BadInputError(f"nothing of manifest {self._name.hex()[:12]} was missing here")
        return staging

    def _note(self, staging: Staging, kept: Sequence[int]) -> None:
        """Records what has become durable."""
        self._cache.record(self._name, map(staging.table.chunk, kept))
        written = sum(staging.table.sizes[ordinal] * len(staging.places(ordinal)) for ordinal in kept)
        seen = self.progress
        self.progress = Progress(seen.total, seen.had, min(seen.total, seen.done + written))

    def _install(self, version: Version, offer: Offer, staging: Staging) -> None:
        wrong = staging.recheck()
        if wrong:
            self._cache.forget(self._name, map(staging.table.chunk, wrong))
            # the disk's fault, not the hub's: what changed here comes anew within seconds, and nobody need act on it
            raise DiskError(
                f"{len(wrong)} chunks of {version.model}:{version.number} changed on this node's disk after they came",
                safe="nothing else was lost, and the version in use is untouched",
                hint="they are fetched again with the next try; look at the disk if it happens again",
            )
        self._tree.install(version, offer.release, staging)
        self._content = None
        passing(Point.VERSION_UNSETTLED)
        self._cache.settle(self._name)
        facts = {"bytes": staging.manifest.content_size, "written": written() - self._written}
        Log().info("version.stored", model=str(version.model), version=version.number, **facts)
