"""The only place where the hub reads plain bytes of a release's files: what chunks are coded against, and samples.

Chunks rest encoded, and neighbours are asked for again and again, so the plain ones that were used last are kept, up to
a bound in bytes. Law: what comes out of here was compared with its digest. Everything here blocks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress

from cloud_hub.stock import Stock
from modelsyncd.bases import HOLE, Run, Turned, check, gather
from modelsyncd.codec.registry import decode
from modelsyncd.digest import Buffer, Digest, digest_of, short
from modelsyncd.errors import DamageError, ModelsyncError
from modelsyncd.manifest import ChunkTable, Manifest
from modelsyncd.matching import Hints
from modelsyncd.release import ManifestRef

PLAIN_BYTES = 64 << 20  # plain bytes that are kept: two windows of a fast node
WARM_BYTES = 32 << 20  # plain bytes that are read ahead at once: what a taker's window holds
TURNED_BYTES = 48 << 20  # of a matrix that is read column by column: each chunk needs all of its rows at hand
CACHED_MANIFESTS = 16
IN_USE = 4  # manifests that are kept however large: a transfer goes to and fro between its own and three bases
CACHED_WEIGHT = 400_000  # tensors and chunks of all kept manifests together: about 100 MB


def _span(turned: Turned) -> int:
    return turned.rows * turned.columns * turned.width


class Content:
    """One manifest, with the plain bytes of its files."""

    def __init__(self, name: Digest, manifest: Manifest, plains: Plains) -> None:
        self.name = name
        self.manifest = manifest
        self.table = ChunkTable(manifest)
        self.file_sizes = [file.size for file in manifest.files]
        self.hints = Hints(manifest)
        self._plains = plains

    @property
    def weight(self) -> int:
        """How much memory this takes, in tensors and chunks."""
        return len(self.table) + sum(len(file.tensors) for file in self.manifest.files)

    def read(self, file: int, offset: int, size: int) -> Buffer:
        """Plain bytes of a file; see `bases.Read`. Raises DamageError, DiskError, RoadError."""
        ordinals = self._ordinals(file, offset, size)
        start = offset - self.table.chunk(ordinals[0]).offset
        chunks = self._plains.get([self.table.digest(ordinal) for ordinal in ordinals])
        if len(chunks) == 1:
            return memoryview(chunks[0])[start : start + size]
        return b"".join(chunks)[start : start + size]

    def gather(self, runs: Sequence[Run], size: int) -> bytes:
        """The bytes of these runs, end to end. Raises DamageError for runs that can't be, and as `read`."""
        check(runs, self.file_sizes, size)
        if any(run.turned is not None and _span(run.turned) > TURNED_BYTES for run in runs):
            raise DamageError(f"a matrix of more than {TURNED_BYTES} bytes is not read column by column here")
        return gather(runs, self.read)

    def warm(self, runs: Iterable[Run]) -> None:
        """Reads ahead, in one go, what is about to be asked for. Never raises: whoever reads then is told."""
        wanted: dict[Digest, None] = {}
        room = WARM_BYTES
        for run in runs:
            if run.file == HOLE or run.turned is not None:
                continue
            room -= abs(run.size)
            with suppress(IndexError):  # runs that a peer said, and nobody has checked yet
                ordinals = self._ordinals(run.file, run.offset, run.size) if room >= 0 else ()
                wanted.update((self.table.digest(ordinal), None) for ordinal in ordinals)
        with suppress(ModelsyncError):
            self._plains.get(list(wanted))

    def _ordinals(self, file: int, offset: int, size: int) -> range:
        return range(self.table.at(file, offset), self.table.at(file, offset + size - 1) + 1)


class Contents:
    """Manifests by name, those in use kept. Safe to use from any thread."""

    def __init__(self, stock: Stock, plain_bytes: int = PLAIN_BYTES) -> None:
        self._stock = stock
        self._plains = Plains(stock, plain_bytes)
        self._lock = threading.Lock()
        self._kept: OrderedDict[Digest, Content] = OrderedDict()

    def named(self, manifest: Digest) -> Content:
        """A manifest that was committed here. Raises NotFoundError, and as `get`."""
        return self.get(self._stock.ref(manifest))

    def get(self, ref: ManifestRef) -> Content:
        """A manifest whose pieces are all here.

        Raises DamageError, BadInputError and its kind, DiskError, RoadError.
        """
        with self._lock:
            content = self._kept.get(ref.digest)
            if content is not None:
                self._kept.move_to_end(ref.digest)
                return content
        content = Content(ref.digest, self._stock.manifest(ref), self._plains)
        with self._lock:
            self._kept[ref.digest] = content
            while len(self._kept) > IN_USE and self._is_crowded():
                self._kept.popitem(last=False)
        return content

    def _is_crowded(self) -> bool:
        return len(self._kept) > CACHED_MANIFESTS or sum(each.weight for each in self._kept.values()) > CACHED_WEIGHT


class Plains:
    """Plain chunks by digest, the ones used last kept. Safe to use from any thread."""

    def __init__(self, stock: Stock, room: int) -> None:
        self._stock = stock
        self._room = room
        self._lock = threading.Lock()
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()
        self._size = 0

    def get(self, digests: Sequence[Digest]) -> list[bytes]:
        """The chunks, in the order asked for; those that are not kept are read at once.

        Raises DamageError when one is gone or damaged, DiskError, RoadError.
        """
        found = self._look_up(digests)
        absent = [digest for digest in dict.fromkeys(digests) if digest not in found]
        for place, payload in self._stock.read(absent) if absent else ():
            plain = bytes(decode(place.codec, payload, place.plain_size))
            if digest_of(plain) != place.digest:
                raise DamageError(f"chunk {short(place.digest)} is not as its digest says")
            found[place.digest] = plain
            self._keep(place.digest, plain)
        return [found[digest] for digest in digests]

    def _look_up(self, digests: Sequence[Digest]) -> dict[Digest, bytes]:
        found: dict[Digest, bytes] = {}
        with self._lock:
            for digest in digests:
                plain = self._kept.get(digest)
                if plain is not None:
                    self._kept.move_to_end(digest)
                    found[digest] = plain
        return found

    def _keep(self, digest: Digest, plain: bytes) -> None:
        with self._lock:
            if digest in self._kept or len(plain) > self._room:
                return
            self._kept[digest] = plain
            self._size += len(plain)
            while self._size > self._room:
                _, gone = self._kept.popitem(last=False)
                self._size -= len(gone)
