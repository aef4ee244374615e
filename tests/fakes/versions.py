"""Versions for tests of stores: small files in small chunks, with a real manifest and a real release around them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest, FileHasher, digest_of
from modelsyncd.manifest import Chunking, ChunkTable, File, Manifest, piece_digests, pieces
from modelsyncd.names import ModelName
from modelsyncd.release import ManifestRef, Release, SignedRelease, Variant
from modelsyncd.session.effects import Keep
from modelsyncd.session.frames import Offer, Part
from modelsyncd.session.ports import TakerStore
from modelsyncd.store.version import Version
from modelsyncd.wire import nouns

STEP = 4_096  # bytes of a chunk: a block, so that holes can be seen
HELMET = ModelName("acme", "helmet")


@dataclass(frozen=True)
class Published:
    """A release and all of its bytes."""

    files: Mapping[str, bytes]
    manifest: Manifest
    manifest_bytes: bytes
    release: Release
    offer: Offer

    @property
    def version(self) -> Version:
        return Version(self.release.model, self.release.number, self.offer.manifest)

    @cached_property
    def chunks(self) -> list[bytes]:
        found = []
        for chunk in ChunkTable(self.manifest):
            plain = self.files[self.manifest.files[chunk.file].path]
            found.append(plain[chunk.offset : chunk.offset + chunk.size])
        return found

    def keeps(self, part: Part, ordinals: Sequence[int]) -> list[Keep]:
        """Arrivals of these chunks, plain."""
        chunks: Sequence[bytes | memoryview] = pieces(self.manifest_bytes) if part is Part.MANIFEST else self.chunks
        return [Keep(self.offer, part, ordinal, Codec.STORED, chunks[ordinal], None) for ordinal in ordinals]


def manifest_of(files: Mapping[str, bytes], *, step: int = STEP, executable: Sequence[str] = ()) -> Manifest:
    """A manifest that cuts each file every `step` bytes."""
    made = []
    for path in sorted(files):
        plain = files[path]
        hasher = FileHasher()
        hasher.update(plain)
        cuts = [plain[start : start + step] for start in range(0, len(plain), step)]
        digests = b"".join(map(digest_of, cuts))
        made.append(File(path, len(plain), hasher.sha256(), path in executable, tuple(map(len, cuts)), digests))
    return Manifest(tuple(made), Chunking(step=step))


def published(
    files: Mapping[str, bytes],
    number: int = 1,
    *,
    model: ModelName = HELMET,
    executable: Sequence[str] = (),
    step: int = STEP,
) -> Published:
    """A release of these files, cut every `step` bytes."""
    manifest = manifest_of(files, step=step, executable=executable)
    raw = nouns.encode_manifest(manifest)
    ref = ManifestRef(digest_of(raw), len(raw), manifest.content_size, len(manifest.files), piece_digests(raw))
    release = Release(model, number, (Variant("default", ref),), producer="admin/ann")
    signed = SignedRelease(nouns.encode_release(release))
    return Published(dict(files), manifest, raw, release, Offer(signed, ref.digest))


def some_files(rng: random.Random, chunks: int = 12) -> dict[str, bytes]:
    """One large file, one in a folder, and an empty one."""
    return {
        "model.bin": rng.randbytes(STEP * chunks - 5),
        "labels/en.txt": rng.randbytes(700),
        "empty": b"",
    }


def changed(files: Mapping[str, bytes], path: str, offset: int, new: bytes) -> dict[str, bytes]:
    """The files with a few bytes of one overwritten."""
    old = files[path]
    return {**files, path: old[:offset] + new + old[offset + len(new) :]}


def content_of(folder: Path) -> dict[str, bytes]:
    """Every regular file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass
class Fetched:
    """What travelled for a version, as (part, ordinal), in order."""

    chunks: list[tuple[Part, int]]

    def content(self) -> list[int]:
        return [ordinal for part, ordinal in self.chunks if part is Part.CONTENT]


async def fetch(
    shelf: TakerStore,
    what: Published,
    *,
    batch: int = 4,
    then: Callable[[int], None] = lambda _: None,
    settle: bool = True,
) -> Fetched:
    """Does what a session does: surveys, keeps what is missing in batches, completes. `then` is told each batch."""
    fetched = Fetched([])
    for part in (Part.MANIFEST, Part.CONTENT):
        missing = (await shelf.survey(what.offer, part)).ordinals
        for start in range(0, len(missing), batch):
            some = missing[start : start + batch]
            keeping = await shelf.keep(what.keeps(part, some))
            assert keeping.kept == tuple(some)
            fetched.chunks += [(part, ordinal) for ordinal in some]
            then(start // batch)
    if settle:
        await shelf.complete(what.offer)
    return fetched


def name_of(files: Mapping[str, bytes]) -> Digest:
    """One digest for a whole version, whatever its names."""
    return digest_of(b"".join(files[path] for path in sorted(files)))
