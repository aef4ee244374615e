"""The files that a folder lacks, on their way: a staging for those alone, filled from what is here, then by arrivals.

A file that is in place already is not staged again, so the staging's manifest is smaller than the release's, and it
counts ordinals of its own; outside this file only the release's are spoken of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from modelsyncd.digest import Buffer, Digest
from modelsyncd.errors import ModelsyncError
from modelsyncd.exchange.destination import Look, State, place, soften
from modelsyncd.exchange.local_base import LocalBase
from modelsyncd.exchange.remains import Remains
from modelsyncd.exchange.thread import Check
from modelsyncd.manifest import ChunkTable, Manifest
from modelsyncd.session.effects import Keep
from modelsyncd.session.ports import Keeping, Missing
from modelsyncd.store.arrivals import Arrivals
from modelsyncd.store.held import Held
from modelsyncd.store.source import Source
from modelsyncd.store.staging import Staging

_BATCH_BYTES = 8 << 20  # plain bytes of seeds that become durable together


class Assembly:
    """Call `fill`, then `keep` for what it says is missing, then `finish`. Methods block; one thread at a time."""

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        looks: Sequence[Look],
        remains: Remains,
        bases: Sequence[LocalBase] = (),
    ) -> None:
        """`looks` are one for each of the manifest's files, in its order; `bases` lie elsewhere on this machine."""
        self._looks = looks
        self._bases = bases
        self._remains = remains
        self._sizes = ChunkTable(manifest).sizes
        self._needed = tuple(one.file for one in looks if one.state is not State.SAME)
        self._staging = Staging(path, Manifest(self._needed, manifest.chunking))
        self._outer = list(_ordinals(looks))
        self._inner = {outer: inner for inner, outer in enumerate(self._outer)}

    def fill(self, check: Check) -> Missing:
        """Takes what earlier tries left and what the folder's own files hold; says what is still missing.

        Raises DiskFullError before anything is fetched, DiskError.
        """
        if not self._needed:
            return Missing(self._sizes, ())
        self._staging.prepare()
        self._plant(check)
        return Missing(self._sizes, [self._outer[ordinal] for ordinal in self._staging.missing()])

    def keep(self, batch: Sequence[Keep], held: Held) -> Keeping:
        """Verifies arrivals and makes them durable. Raises DiskError; then none of them counts."""
        arrivals = Arrivals(batch, self._staging, held, lambda outer: self._inner.get(outer, -1))
        self._staging.write(arrivals)
        return arrivals.keeping()

    def finish(self, folder: Path) -> int:
        """Puts the files into the folder; returns how many. Raises DamageError, DiskError."""
        if not self._needed:
            return 0
        self._staging.seal()
        soften(self._staging.path, self._needed)
        place(self._staging.path, folder, self._needed)
        return len(self._needed)

    def close(self) -> None:
        """Lets go of the files; nothing is lost."""
        self._staging.close()

    def _plant(self, check: Check) -> None:
        """Copies chunks that the folder's own files hold, or other pulls left; each is verified when it is read."""
        lacking = {self._staging.table.digest(ordinal): ordinal for ordinal in self._staging.missing()}
        batch: list[tuple[int, Buffer]] = []
        size = 0
        for digest, plain in chain(self._seeds(lacking), self._remains.chunks(lacking)):
            check()
            batch.append((lacking.pop(digest), plain))
            size += len(plain)
            if size >= _BATCH_BYTES:
                self._staging.write(batch)
                batch, size = [], 0
        self._staging.write(batch)

    def _seeds(self, lacking: dict[Digest, int]) -> Iterator[tuple[Digest, bytes]]:
        """The lacking chunks that files of the folder or of bases hold, whichever file they belong to there or here."""
        looked = (one.found for one in self._looks if one.found is not None)
        for source in chain(looked, (one.source for one in self._bases)):
            for chunk in ChunkTable(source.manifest):
                if chunk.digest in lacking:
                    plain = _read(source, chunk.ordinal)
                    if plain is not None:
                        yield chunk.digest, plain


def _ordinals(looks: Sequence[Look]) -> Iterator[int]:
    """The release's ordinals of the chunks that are staged, ascending."""
    start = 0
    for one in looks:
        end = start + len(one.file.chunk_sizes)
        if one.state is not State.SAME:
            yield from range(start, end)
        start = end


def _read(source: Source, ordinal: int) -> bytes | None:
    try:
        return source.read(ordinal)
    except ModelsyncError:
        return None  # it changed since it was scanned: then the chunk travels
