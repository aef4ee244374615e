"""The only place where the hub reads back and re-hashes what rests: in small batches, and others are served meanwhile.

What is missing or damaged is forgotten from the index and listed; pushing its content again brings it back. Bytes that
can't be reached (a folder that is not mounted, a disk that does not read, a blob store that is away) are neither: they
end the reading with an error, and nothing of them is forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from cloud_hub.catalog import Catalog
from cloud_hub.stock import Stock
from cloud_hub.tables import PieceTable, Table
from modelsyncd.digest import Digest
from modelsyncd.names import ModelRef
from modelsyncd.release import ManifestRef
from modelsyncd.session.frames import Part

BATCH = 64  # chunks of one hop to a thread: 16 MiB as a rule
MODELS = 100  # models of one look into the catalogue
LISTED = 1_000  # damaged chunks that are named; the rest are forgotten all the same


class Verification:
    """One reading back. Its iterators yield after each batch; what has come of it so far stands in its fields."""

    def __init__(self, catalog: Catalog, stock: Stock) -> None:
        self._catalog = catalog
        self._stock = stock
        self.chunks = 0
        """Chunks that were looked at."""
        self.total = 0
        """Chunks to look at, as far as it is known yet."""
        self.size = 0
        """Plain bytes that were hashed and found sound."""
        self.damaged: dict[Digest, None] = {}
        """Chunks that are missing or damaged, the first `LISTED` of them."""

    async def everything(self) -> AsyncIterator[None]:
        """Every chunk that the hub knows, then whether each release has all of its chunks.

        Raises DiskError, RoadError.
        """
        self.total = await asyncio.to_thread(self._catalog.chunks.count)
        after: Digest | None = None
        while places := await asyncio.to_thread(self._catalog.chunks.page, after, BATCH):
            await self._look([place.digest for place in places])
            yield
            after = places[-1].digest
        async for manifest in self._manifests():
            self._note(await asyncio.to_thread(self._absent, manifest))
            yield

    async def release(self, ref: ModelRef) -> AsyncIterator[None]:
        """The chunks of one release. Raises NotFoundError, DiskError, RoadError."""
        row = await asyncio.to_thread(self._catalog.models.release, ref)
        for variant in row.variants:
            async for _ in self._manifest(variant.manifest):
                yield

    async def _manifest(self, ref: ManifestRef) -> AsyncIterator[None]:
        before = len(self.damaged)
        async for _ in self._table(PieceTable(ref)):
            yield
        if len(self.damaged) > before:
            return  # its content can be listed only by a manifest that is whole
        async for _ in self._table(await asyncio.to_thread(self._stock.table, ref, Part.CONTENT)):
            yield

    async def _table(self, table: Table) -> AsyncIterator[None]:
        count = len(table.sizes)
        self.total += count
        for start in range(0, count, BATCH):
            await self._look([table.digest(ordinal) for ordinal in range(start, min(start + BATCH, count))])
            yield

    async def _look(self, digests: list[Digest]) -> None:
        size, damaged = await asyncio.to_thread(self._stock.verify, digests)
        self.chunks += len(digests)
        self.size += size
        self._note(damaged)

    def _note(self, damaged: Sequence[Digest]) -> None:
        for digest in damaged:
            if len(self.damaged) < LISTED:
                self.damaged[digest] = None

    async def _manifests(self) -> AsyncIterator[ManifestRef]:
        """The manifests of all releases, each once."""
        seen: set[Digest] = set()
        after = ""
        while models := await asyncio.to_thread(self._catalog.models.list, "", MODELS, after):
            for model in models:
                rows = await asyncio.to_thread(self._catalog.models.history, model.model)
                for ref in (variant.manifest for row in rows.releases for variant in row.variants):
                    if ref.digest not in seen:
                        seen.add(ref.digest)
                        yield ref
            after = str(models[-1].model)

    def _absent(self, ref: ManifestRef) -> Sequence[Digest]:
        """Chunks that the index does not know; of the content only when the manifest is whole."""
        pieces = PieceTable(ref)
        absent = [pieces.digest(ordinal) for ordinal in self._stock.missing(pieces)]
        if absent:
            return absent
        table = self._stock.table(ref, Part.CONTENT)
        return [table.digest(ordinal) for ordinal in self._stock.missing(table)]
