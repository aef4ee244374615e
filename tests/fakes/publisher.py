"""A publisher and a puller in memory: what they give and take is real, only their disk is not."""

from __future__ import annotations

import asyncio
import hashlib
import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelsyncd import digest
from modelsyncd.bases import gather
from modelsyncd.codec.registry import Codec, decode, encode
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import DamageError
from modelsyncd.manifest import ChunkTable, File, Manifest, Tensor, piece_digests, piece_sizes, pieces
from modelsyncd.names import parse_model
from modelsyncd.release import ManifestRef, Member, Parent, Release, SignedRelease, Variant
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Encoded, Settled
from modelsyncd.session.frames import Offer, Part
from modelsyncd.session.ports import Keeping, Missing
from modelsyncd.wire.nouns import decode_manifest, decode_release, encode_manifest, encode_release

STEP = 64 << 10  # bytes of a chunk


@dataclass
class Publication:
    """A release that somebody publishes, with all of its bytes. Implements `session.ports.GiverStore`."""

    offer: Offer
    release: Release
    manifest_pieces: list[bytes]
    chunks: list[bytes]
    given: list[tuple[Part, int]] = field(default_factory=list)
    spoiled: set[int] = field(default_factory=set)
    """Ordinals of the content that are given wrong."""
    stall_after: int | None = None
    """Chunks after which nothing is given any more, without a word."""
    stalled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def manifest(self) -> Digest:
        return self.offer.manifest

    def ref(self) -> ManifestRef:
        return self.release.variant(self.manifest).manifest

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
        assert manifest == self.manifest
        found = self.manifest_pieces if part is Part.MANIFEST else self.chunks
        if self.stall_after is not None and len(self.given) >= self.stall_after:
            self.stalled.set()
            await asyncio.Event().wait()
        self.given += [(part, ordinal) for ordinal in ordinals]
        return [self._encoded(part, ordinal, found[ordinal], codecs) for ordinal in ordinals]

    def _encoded(self, part: Part, ordinal: int, plain: bytes, codecs: frozenset[Codec]) -> Encoded:
        if part is Part.CONTENT and ordinal in self.spoiled:
            return Encoded(ordinal, Codec.STORED, bytes(len(plain)))
        codec, payload = encode(plain, codecs)
        return Encoded(ordinal, codec, bytes(payload))


def publication(
    files: Mapping[str, bytes],
    *,
    model: str = "acme/helmet",
    number: int = 1,
    producer: str = "admin/tester",
    channel: str = "",
    step: int = STEP,
    dtype: str = "",
    shape: tuple[int, ...] = (),
    tensor: str = "weights",
    parents: tuple[Parent, ...] = (),
    members: tuple[Member, ...] = (),
) -> Publication:
    """A release of these files, cut at fixed steps; with a dtype, each file is one tensor."""
    chunks: list[bytes] = []
    listed: list[File] = []
    for path, data in sorted(files.items()):
        cut = [data[start : start + step] for start in range(0, len(data), step)]
        chunks += cut
        listed.append(
            File(
                path,
                len(data),
                hashlib.sha256(data).digest(),
                executable=False,
                chunk_sizes=tuple(map(len, cut)),
                chunk_digests=b"".join(map(digest_of, cut)),
                tensors=(Tensor(tensor, dtype, shape or (len(data) // 4,), 0, len(data)),) if dtype else (),
            )
        )
    release = Named(model, number, producer, channel, parents, members)
    return published(Manifest(tuple(listed)), chunks, release)


@dataclass(frozen=True, slots=True)
class Named:
    """What a release is called, and by whom."""

    model: str = "acme/helmet"
    number: int = 1
    producer: str = "admin/tester"
    channel: str = ""
    parents: tuple[Parent, ...] = ()
    members: tuple[Member, ...] = ()


def published(manifest: Manifest, chunks: list[bytes], named: Named) -> Publication:
    """A release of a manifest with these chunks."""
    encoded = encode_manifest(manifest)
    ref = ManifestRef(
        digest_of(encoded), len(encoded), manifest.content_size, len(manifest.files), piece_digests(encoded)
    )
    release = Release(
        parse_model(named.model),
        named.number,
        (Variant("default", ref),),
        producer=named.producer,
        created_at=1,
        parents=named.parents,
        members=named.members,
    )
    offer = Offer(SignedRelease(encode_release(release)), ref.digest, named.channel)
    return Publication(offer, release, [bytes(piece) for piece in pieces(encoded)], chunks)


def weights(seed: int, size: int) -> bytes:
    """Bytes that no codec makes smaller, the same for the same seed."""
    rng = random.Random(seed)
    return b"".join(rng.randbytes(min(STEP, size - start)) for start in range(0, size, STEP))


def numbers(seed: int, count: int) -> bytes:
    """float32, as weights are, the same for the same seed."""
    rng = random.Random(seed)
    return struct.pack(f"<{count}f", *(rng.gauss(0, 0.05) for _ in range(count)))


def trained(weights: bytes, seed: int) -> bytes:
    """The same weights, each moved a little."""
    rng = random.Random(seed)
    count = len(weights) // 4
    return struct.pack(f"<{count}f", *(old + rng.gauss(0, 1e-6) for old in struct.unpack(f"<{count}f", weights)))


@dataclass
class Puller:
    """Takes releases into memory. Implements `session.ports.TakerStore`."""

    held: dict[Digest, bytes] = field(default_factory=dict)
    arrived: list[tuple[Part, int]] = field(default_factory=list)
    whole: dict[Digest, Mapping[str, bytes]] = field(default_factory=dict)
    """Files of versions that are here whole, by manifest: what chunks may be coded against."""
    coded: list[int] = field(default_factory=list)
    """Ordinals that came coded against one of them."""

    async def consider(self, offer: Offer) -> Settled | None:
        raise AssertionError("nobody offers to a puller")

    async def survey(self, offer: Offer, part: Part) -> Missing:
        sizes, names = self._list(offer, part)
        first: dict[Digest, int] = {}
        for ordinal, name in enumerate(names):
            first.setdefault(name, ordinal)
        missing = sorted(ordinal for name, ordinal in first.items() if name not in self.held)
        return Missing(sizes, missing, tuple(self.whole) if part is Part.CONTENT else ())

    async def keep(self, batch: Sequence[Keep]) -> Keeping:
        kept: list[int] = []
        spoiled: list[int] = []
        for keep in batch:
            sizes, names = self._list(keep.offer, keep.part)
            try:
                plain = bytes(decode(keep.codec, keep.payload, sizes[keep.ordinal], self._base(keep)))
            except DamageError:
                plain = b""
            good = digest_of(plain) == names[keep.ordinal]
            (kept if good else spoiled).append(keep.ordinal)
            if good:
                self.held[names[keep.ordinal]] = plain
                self.arrived.append((keep.part, keep.ordinal))
                self.coded += [keep.ordinal] if keep.base is not None else []
        return Keeping(tuple(kept), tuple(spoiled))

    async def complete(self, offer: Offer) -> Settled:
        number = decode_release(offer.release.release).number
        return Settled(number, True, digest_of(offer.release.release))

    def _base(self, keep: Keep) -> bytes | None:
        if keep.base is None:
            return None
        files = [data for _, data in sorted(self.whole[keep.base.manifest].items())]
        return gather(keep.base.runs, lambda file, offset, size: files[file][offset : offset + size])

    def content(self, offer: Offer) -> bytes:
        """All files of a release that was taken, end to end."""
        _, names = self._list(offer, Part.CONTENT)
        return b"".join(self.held[name] for name in names)

    def _list(self, offer: Offer, part: Part) -> tuple[list[int], list[Digest]]:
        ref = decode_release(offer.release.release).variant(offer.manifest).manifest
        names = [
            Digest(ref.chunk_digests[start : start + digest.DIGEST_SIZE])
            for start in range(0, len(ref.chunk_digests), digest.DIGEST_SIZE)
        ]
        if part is Part.MANIFEST:
            return piece_sizes(ref.size), names
        table = ChunkTable(decode_manifest(b"".join(self.held[name] for name in names)))
        return list(table.sizes), [table.digest(ordinal) for ordinal in range(len(table))]
