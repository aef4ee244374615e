"""The only place where it is asked which manifests the hub's releases have."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Row, select

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
        return _ref(row)

    def page(self, after: Digest | None, limit: int) -> Sequence[ManifestRef]:
        """At most `limit` manifests in the order of their digests, the first one after `after`."""
        table = schema.manifests
        query = select(table).where(table.c.digest > (after or b"")).order_by(table.c.digest).limit(limit)
        with self._database.read() as connection:
            return [_ref(row) for row in connection.execute(query)]

    def known(self, digests: Collection[Digest]) -> frozenset[Digest]:
        """Those of these manifests that are here."""
        table = schema.manifests
        found: set[Digest] = set()
        with self._database.read() as connection:
            for batch in batches(list(digests)):
                query = select(table.c.digest).where(table.c.digest.in_(batch))
                found.update(Digest(raw) for raw in connection.scalars(query))
        return frozenset(found)


def _ref(row: Row[bytes, int, int, int, bytes]) -> ManifestRef:
    digest, size, content_size, files, pieces = row
    return ManifestRef(Digest(digest), size, content_size, files, pieces)
