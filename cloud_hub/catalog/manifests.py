"""The only place where it is asked which manifests the hub's releases have."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from cloud_hub.catalog import schema
from cloud_hub.catalog.database import Database, batches
from modelsyncd.digest import Digest
from modelsyncd.release import ManifestRef


class Manifests:
    """Manifests by digest; a manifest is here from the moment that a release with it was committed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, digest: Digest) -> ManifestRef | None:
        """Sizes and piece digests of a manifest."""
        with self._database.read() as connection:
            row = connection.execute(select(schema.manifests).where(schema.manifests.c.digest == digest)).one_or_none()
        if row is None:
            return None
        return ManifestRef(Digest(row.digest), row.size, row.content_size, row.files, row.chunk_digests)

    def known(self, digests: Collection[Digest]) -> frozenset[Digest]:
        """Those of these manifests that are here."""
        table = schema.manifests
        found: set[Digest] = set()
        with self._database.read() as connection:
            for batch in batches(list(digests)):
                query = select(table.c.digest).where(table.c.digest.in_(batch))
                found.update(Digest(raw) for raw in connection.scalars(query))
        return frozenset(found)
