"""The only place where it is asked what lies in a pack, and where packs leave the index. Whoever calls owns the packs.

Each method is one transaction. A pack that holds no chunk any more leaves the index first and the disk after that, so a
crash leaves bytes that no row speaks of, and never a row without bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, exists, func, select, update

from cloud_hub.catalog import schema
from cloud_hub.catalog.chunks import select_places
from cloud_hub.catalog.database import Database, batches
from modelsyncd.digest import Digest
from modelsyncd.store.packs import Place


@dataclass(frozen=True, slots=True)
class Use:
    """How many chunks of a pack are known, and their encoded bytes."""

    chunks: int
    size: int


class Packs:
    """Packs by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def names(self) -> frozenset[str]:
        """All packs that the index knows."""
        with self._database.read() as connection:
            return frozenset(connection.scalars(select(schema.packs.c.name)))

    def young(self, since: float) -> frozenset[str]:
        """Those that were begun after `since`, seconds since 1970 UTC."""
        table = schema.packs
        with self._database.read() as connection:
            return frozenset(connection.scalars(select(table.c.name).where(table.c.at > since)))

    def used(self) -> Mapping[str, Use]:
        """What is in use of each pack that holds a chunk."""
        chunks, packs = schema.chunks, schema.packs
        query = (
            select(packs.c.name, func.count(), func.sum(chunks.c.length))
            .join(packs, packs.c.id == chunks.c.pack_id)
            .group_by(packs.c.name)
        )
        with self._database.read() as connection:
            return {name: Use(count, int(size)) for name, count, size in connection.execute(query)}

    def content(self, pack: str) -> Sequence[Place]:
        """The chunks that rest in a pack, as they lie there."""
        with self._database.read() as connection:
            pack_id = _pack_id(connection, pack)
            found = select_places(connection, schema.chunks.c.pack_id == pack_id) if pack_id is not None else []
        return sorted(found, key=lambda place: place.offset)

    def drop(self, digests: Collection[Digest]) -> None:
        """Forgets chunks that nothing needs."""
        table = schema.chunks
        with self._database.write() as connection:
            for batch in batches(list(digests)):
                connection.execute(delete(table).where(table.c.digest.in_(batch)))

    def move(self, places: Sequence[tuple[Place, Place]], now: float) -> None:
        """Notes that chunks rest in the second place of each pair from now on; they are durable there already.

        A chunk that does not rest in the first any more stays as it is.
        """
        table = schema.chunks
        here = (
            table.c.digest == bindparam("what"),
            table.c.pack_id == bindparam("old"),
            table.c.offset == bindparam("at"),
        )
        moved = update(table).where(*here).values(pack_id=bindparam("new"), offset=bindparam("to"))
        with self._database.write() as connection:
            known = {pack: _pack_id(connection, pack) for pack in {old.pack for old, _ in places}}
            made = {pack: _pack_made(connection, pack, now) for pack in {new.pack for _, new in places}}
            rows = [
                {"what": old.digest, "old": known[old.pack], "at": old.offset, "new": made[new.pack], "to": new.offset}
                for old, new in places
            ]
            if rows:
                connection.execute(moved, rows)

    def retire(self, pack: str) -> bool:
        """Forgets a pack; False, and nothing is changed, when a chunk rests in it."""
        packs, chunks = schema.packs, schema.chunks
        with self._database.write() as connection:
            pack_id = _pack_id(connection, pack)
            if pack_id is None:
                return True
            if connection.scalar(select(exists().where(chunks.c.pack_id == pack_id))):
                return False
            connection.execute(delete(packs).where(packs.c.id == pack_id))
            return True


def _pack_id(connection: Connection, pack: str) -> int | None:
    return connection.scalars(select(schema.packs.c.id).where(schema.packs.c.name == pack)).one_or_none()


def _pack_made(connection: Connection, pack: str, now: float) -> int:
    found = _pack_id(connection, pack)
    if found is not None:
        return found
    statement = schema.packs.insert().values(name=pack, at=now).returning(schema.packs.c.id)
    made: int = connection.scalars(statement).one()
    return made
