"""The only place that shows versions to jobs: a version is whole and verified under its name, or it is not there.

Law: manifest, then release, then version, then link. Each is durable before the next is made, so a folder of a version
always has its papers, and a link always leads to a whole version. The files are all there is to know: what this object
holds in memory is read from them when it is made.

A version whose bytes rot is marked (`quarantine`) and stays where it is, because a job may be using it and most of it
is right; nobody is switched to it any more. To repair it, it is staged anew (its good chunks are copied, the bad ones
fetched) and `install` puts the files that differ in place, one rename each: a channel's path leads somewhere always.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import BadInputError, ConflictError, DamageError, DiskError, ModelsyncError, NotFoundError
from modelsyncd.manifest import Manifest
from modelsyncd.names import ModelName, ModelRef, parse_channel
from modelsyncd.release import Release, SignedRelease
from modelsyncd.store import durable
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.hashed import Hashed
from modelsyncd.store.inside import models, names, staged, target
from modelsyncd.store.layout import VERSIONS, Layout, target_of
from modelsyncd.store.nouns import Nouns
from modelsyncd.store.orphans import remove_orphans
from modelsyncd.store.papers import read_paper, write_paper
from modelsyncd.store.staging import Staging
from modelsyncd.store.version import Damage, Version, damaged_files, mend


@dataclass(frozen=True, slots=True)
class Shown:
    """What is on the node at one moment. `held` versions are whole; `damaged` ones are not in it.

    `active` and `previous` may lead to a damaged version: it is still there, and only some of its bytes are wrong.
    """

    held: frozenset[Version] = frozenset()
    damaged: frozenset[Version] = frozenset()
    active: Mapping[ModelRef, Version] = field(default_factory=dict)
    previous: Mapping[ModelRef, Version] = field(default_factory=dict)
    staged: frozenset[Digest] = frozenset()


class EdgeTree:
    """A node's folder. Making one only reads, so it serves people who look on; `prepare` is for whoever owns it."""

    def __init__(self, root: Path, nouns: Nouns) -> None:
        """Raises DiskError."""
        self.layout = Layout(root)
        self.nouns = nouns
        self.hashed = Hashed()
        self._lock = threading.RLock()
        self._gone = threading.Condition(self._lock)  # told when one of `_going` is
        self._releases: Mapping[Version, Digest] = {}
        self._damaged: frozenset[Version] = frozenset()
        self._going: frozenset[Version] = frozenset()  # they have lost their names, and their files go now
        self._mending: frozenset[Version] = frozenset()
        self._load()

    def prepare(self) -> None:
        """Makes the folders, makes durable what a killed process had named, and removes what belongs to nothing.

        Raises DiskError.
        """
        layout = self.layout
        with self._lock:
            folders = [layout.manifests, layout.releases, layout.staging, layout.models]
            for folder in folders:
                durable.make_folder(folder)
            for model in models(layout):
                folders += [layout.model(model).parent, layout.model(model), layout.model(model) / VERSIONS]
            found = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
            for folder in found:
                durable.clear_leftovers(folder)
            for folder in (layout.root, *found):  # what was named and not synced looks durable to us, and is not
                durable.sync_folder(folder)
            self._remove_orphans()

    # --- looking ---

    def observed(self) -> Shown:
        """What is on the node now. Raises DiskError."""
        with self._lock:  # another process may have verified, and marked one
            self._damaged = damaged = self._marked(self._releases)
            versions = frozenset(self._releases) - self._going
        active: dict[ModelRef, Version] = {}
        previous: dict[ModelRef, Version] = {}
        for ref in self.channels():
            if (version := self.active(ref)) is not None:
                active[ref] = version
            if (version := self.previous(ref)) is not None:
                previous[ref] = version
        return Shown(versions - damaged, damaged & versions, active, previous, self.staged())

    def holds(self, version: Version) -> bool:
        """Whether the version is here, whole, and not known to be damaged."""
        return version in self._releases and version not in self._damaged | self._going

    def versions(self, model: ModelName | None = None) -> list[Version]:
        """Versions that are here whole, of one model or of all, ascending."""
        return sorted(one for one in self._releases if self.holds(one) and model in (None, one.model))

    def folders(self, manifest: Digest) -> list[Path]:
        """Folders of versions with this content, also of damaged ones."""
        there = self._releases.keys() - self._going
        return [self.layout.version(version) for version in sorted(there) if version.manifest == manifest]

    def staged(self) -> frozenset[Digest]:
        """Manifests of which something is on its way here, also from an earlier run. Raises DiskError."""
        return staged(self.layout)

    def channels(self) -> list[ModelRef]:
        """Every channel that has a link, also one that leads nowhere. Raises DiskError."""
        found = []
        for model in models(self.layout):
            folder = self.layout.model(model)
            for name in names(folder):
                with suppress(BadInputError):
                    if (folder / name).is_symlink():
                        found.append(ModelRef(model, channel=parse_channel(name)))
        return found

    def active(self, ref: ModelRef) -> Version | None:
        """The version that the channel's path leads to; None for none, or for an unknown one. Raises DiskError."""
        return self._leads_to(ref.model, self.layout.channel(ref))

    def previous(self, ref: ModelRef) -> Version | None:
        """The version that the channel led to before its last switch, if it is still here. Raises DiskError."""
        before = self._leads_to(ref.model, self.layout.previous(ref))
        return None if before == self.active(ref) else before

    def active_since(self, ref: ModelRef) -> float:
        """Seconds since 1970 UTC when the channel's link was made; 0 without one. Raises DiskError."""
        link = self.layout.channel(ref)
        with durable.disk_errors(link):
            return link.lstat().st_mtime if link.is_symlink() else 0.0

    def signed(self, version: Version) -> SignedRelease:
        """The release of a version, as published. Raises NotFoundError, DamageError, DiskError."""
        digest = self.release_digest(version)
        path = self.layout.release(digest)
        signed = self.nouns.decode_signed(read_paper(path))
        if digest_of(signed.release) != digest:
            raise DamageError(
                f"{path} is not the release that it should be", hint="it is fetched again with the next try"
            )
        return signed

    def release(self, version: Version) -> Release:
        """The release of a version. Raises NotFoundError, DamageError, DiskError."""
        return self.nouns.decode_release(self.signed(version).release)

    def release_digest(self, version: Version) -> Digest:
        """Names the release of a version. Raises NotFoundError."""
        digest = self._releases.get(version)
        if digest is None or version in self._going:
            raise NotFoundError(f"{version.model}:{version.number} is not on this node")
        return digest

    def content(self, version: Version) -> str:
        """Path of the only file of a version inside its folder; "" when it has several. Raises as `manifest`."""
        files = self.manifest(version.manifest).files
        return files[0].path if len(files) == 1 else ""

    def manifest_bytes(self, digest: Digest) -> bytes:
        """A manifest's exact bytes. Raises NotFoundError, DamageError, DiskError."""
        path = self.layout.manifest(digest)
        if not path.is_file():
            raise NotFoundError(f"manifest {digest.hex()[:12]} is not on this node")
        data = read_paper(path)
        if digest_of(data) != digest:
            raise DamageError(
                f"{path} is not the manifest that it should be", hint="it is fetched again with the next try"
            )
        return data

    def manifest(self, digest: Digest) -> Manifest:
        """A manifest. Raises NotFoundError, DamageError, DiskError."""
        return self.nouns.decode_manifest(self.manifest_bytes(digest))

    def has_manifest(self, digest: Digest) -> bool:
        """Whether a manifest is here and right. Raises DiskError."""
        with suppress(NotFoundError, DamageError):
            return bool(self.manifest_bytes(digest))
        return False

    def verify(self, version: Version, pause: Callable[[], object] = lambda: None) -> Iterator[Damage]:
        """Reads a version whole and yields what of it is missing or wrong; `pause` as in `damaged_files`.

        Raises DiskError.
        """
        try:
            manifest = self.manifest(version.manifest)
        except (NotFoundError, DamageError):
            yield Damage(version, "", None)
            return
        for index, ordinal in damaged_files(self.layout.version(version), manifest, pause):
            yield Damage(version, manifest.files[index].path, ordinal)

    # --- changing ---

    def put_manifest(self, digest: Digest, data: bytes) -> Manifest:
        """Keeps a manifest under its digest. Raises DamageError when it is not that one, BadInputError, DiskError."""
        if digest_of(data) != digest:
            raise DamageError(
                f"the pieces of manifest {digest.hex()[:12]} are right, but together they are another one"
            )
        manifest = self.nouns.decode_manifest(data)
        # the folder first: a manifest that belongs to no version and no staging is removed by `prepare`
        durable.make_folder(self.layout.staged(digest))
        write_paper(self.layout.manifest(digest), data)
        passing(Point.MANIFEST_KEPT)
        return manifest

    def install(self, version: Version, signed: SignedRelease, staging: Staging) -> None:
        """Turns what is staged into a version, or repairs the version with it; the staging folder is gone then.

        Raises DamageError when staged chunks are missing or wrong: they are missing for the next survey. DiskError.
        """
        folder = self.layout.version(version)
        staging.seal()  # may take long, and stands in nobody's way
        with self._lock:
            self._gone.wait_for(lambda: version not in self._going)
            self._demand_manifest(version)
            self._keep_release(signed)
            durable.make_folder(folder.parent)
            if not folder.is_dir() or folder.is_symlink():
                durable.erase(folder)
                durable.rename(staging.path, folder)
                passing(Point.VERSION_NAMED)
                self._enter(version, digest_of(signed.release))
                return
            self._mending |= {version}
        try:
            mend(folder, staging)  # as long as that
            with self._lock:
                self._enter(version, digest_of(signed.release))
        finally:
            with self._lock:
                self._mending -= {version}

    def adopt(self, version: Version, signed: SignedRelease) -> bool:
        """Takes in a version whose folder is here though its release is not; False when there is none, or not whole.

        Raises NotFoundError and DamageError for the manifest, DiskError.
        """
        folder = self.layout.version(version)
        if not folder.is_dir() or next(damaged_files(folder, self.manifest(version.manifest)), None) is not None:
            return False
        with self._lock:
            if version in self._going or not folder.is_dir():
                return False  # it was removed while it was read
            durable.sync_folder(folder.parent)  # its name may come from a try that ended before it was durable
            self._keep_release(signed)
            self._enter(version, digest_of(signed.release))
        return True

    def activate(self, ref: ModelRef, version: Version) -> None:
        """Leads the channel to the version, by one rename, and remembers where it led before. Raises as `lead`."""
        with self._lock:
            self.lead(ref, version, target(self.layout.channel(ref)))

    def lead(self, ref: ModelRef, version: Version, previous: str | None) -> None:
        """As `activate`, but what counts as the one before is `previous`, a link's target; None for what did already.

        Raises NotFoundError or DamageError when the version is not here whole, DiskError.
        """
        with self._lock:  # one that is being removed is gone here, and one that a channel leads to is not removed
            if version in self._damaged:
                told, safe = f"{version.model}:{version.number} is damaged", "nothing was switched"
                raise DamageError(told, safe=safe, hint="what is damaged is fetched again from the hub")
            self.release_digest(version)
            link, note = self.layout.channel(ref), self.layout.previous(ref)
            before, left = target(link), self.active(ref)
            if before == target_of(version):
                durable.sync_folder(link.parent)  # it may be there from a try that could not sync it
                return
            if previous not in (None, target(note)):
                durable.switch_link(note, previous)
                passing(Point.PREVIOUS_NOTED)
            durable.switch_link(link, target_of(version))
            if left is not None:
                self.hashed.forget(left)

    def unlink(self, ref: ModelRef) -> None:
        """Takes the channel's link away; versions stay. Raises DiskError."""
        with self._lock:
            durable.remove_file(self.layout.channel(ref))
            passing(Point.CHANNEL_UNLINKED)
            durable.remove_file(self.layout.previous(ref))

    def remove(self, version: Version) -> None:
        """Removes a version and the papers that only it needed.

        Nobody waits for its files to go but who called this. Raises ConflictError when a channel leads to it, or when
        it is being mended; DiskError.
        """
        self._doom(version)
        try:
            durable.remove_tree(self.layout.version(version))  # what could not be removed keeps its papers
            with self._lock:
                self._releases = {one: digest for one, digest in self._releases.items() if one != version}
                self._damaged -= {version}
                passing(Point.VERSION_REMOVED)
                durable.remove_file(self.layout.damage_mark(version))
                self._remove_orphans()
        finally:
            with self._gone:
                self._going -= {version}
                self._gone.notify_all()

    def discard(self, manifest: Digest) -> None:
        """Removes what is staged of a manifest. Raises DiskError."""
        durable.remove_tree(self.layout.staged(manifest))
        passing(Point.CONTENT_DISCARDED)
        durable.remove_tree(self.layout.staged_manifest(manifest))
        with self._lock:
            self._remove_orphans()

    def quarantine(self, version: Version) -> None:
        """Marks a version as damaged until `install` repairs it. Raises NotFoundError, DiskError."""
        with self._lock:
            self.release_digest(version)
            self.hashed.forget(version)
            mark = self.layout.damage_mark(version)
            durable.make_folder(mark.parent)
            durable.write_file(mark, b"")
            passing(Point.VERSION_MARKED)
            self._damaged |= {version}

    # --- inside ---

    def _doom(self, version: Version) -> None:
        """From here on it is gone for everybody who asks. Raises as `remove`."""
        with self._lock:
            leading = [ref for ref in self.channels() if ref.model == version.model and self.active(ref) == version]
            if leading or version in self._mending:
                why = f"active on {leading[0]}" if leading else "being mended"
                raise ConflictError(f"{version.model}:{version.number} is {why}", safe="it stays")
            self.hashed.forget(version)
            self._going |= {version}

    def _demand_manifest(self, version: Version) -> None:
        if not self.has_manifest(version.manifest):
            raise DamageError(
                f"the manifest of {version.model}:{version.number} was removed while it was taken in",
                safe="what is staged stays",
                hint="it is fetched again with the next try",
            )

    def _load(self) -> None:
        with durable.disk_errors(self.layout.releases):  # of two releases of one version, the later counts
            papers = sorted(self.layout.releases.glob("*"), key=lambda path: path.lstat().st_mtime_ns)
        known = {version: digest for path in papers for version, digest in self._versions_of(path)}
        found = {version: digest for version, digest in known.items() if self.layout.version(version).is_dir()}
        self._releases = found
        self._damaged = self._marked(found)

    def _marked(self, versions: Iterable[Version]) -> frozenset[Version]:
        return frozenset(version for version in versions if self.layout.damage_mark(version).exists())

    def _versions_of(self, path: Path) -> list[tuple[Version, Digest]]:
        """What a file in `releases` is about; nothing when it is damaged, which `install` mends. Raises DiskError."""
        try:
            signed = self.nouns.decode_signed(read_paper(path))
            digest = digest_of(signed.release)
            release = self.nouns.decode_release(signed.release)
        except DiskError:
            raise  # too many open files, or no right to read: nothing may be removed because of that
        except ModelsyncError:
            return []
        if digest.hex() != path.name:
            return []
        return [(Version(release.model, release.number, one.manifest.digest), digest) for one in release.variants]

    def _keep_release(self, signed: SignedRelease) -> None:
        write_paper(self.layout.release(digest_of(signed.release)), self.nouns.encode_signed(signed))
        passing(Point.RELEASE_KEPT)

    def _enter(self, version: Version, release: Digest) -> None:
        durable.remove_file(self.layout.damage_mark(version))
        self._damaged -= {version}
        self._releases = {**self._releases, version: release}
        self.hashed.note(version)  # whoever puts a version here has just hashed all of it

    def _remove_orphans(self) -> None:
        remove_orphans(self.layout, self._releases, lambda path: [one for one, _ in self._versions_of(path)])

    def _leads_to(self, model: ModelName, link: Path) -> Version | None:
        said = target(link)
        there = (one for one in self._releases if one.model == model and one not in self._going)
        return next((one for one in there if target_of(one) == said), None)
