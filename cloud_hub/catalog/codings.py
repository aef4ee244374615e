"""The only place where it is asked which codings are kept, and which packs of them go when they are too many.

A coding's row has the shape of a chunk's; its digest is the key over what was coded and against what. There are rows
only for packs that are sealed, so every process that shares the catalogue can read what it finds here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, update

from cloud_hub.catalog import schema
from cloud_hub.catalog.chunks import from_signed, signed
from cloud_hub.catalog.database import Database, batches, insert_new
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest
from modelsyncd.store.packs import Place

_KNOWN = frozenset(map(int, Codec))


@dataclass(frozen=True, slots=True)
class Kept:
    """How many packs of codings are known, with how many codings and bytes."""

    packs: int
    codings: int
    size: int


class Codings:
    """Places of codings by key. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def places(self, keys: Collection[Digest]) -> dict[Digest, Place]:
        """Where these codings rest; one that is not kept is left out."""
        codings, packs = schema.codings, schema.coding_packs
        joined = select(codings, packs.c.name).join(packs, packs.c.id == codings.c.pack_id)
        found: dict[Digest, Place] = {}
        with self._database.read() as connection:
            for batch in batches(list(keys)):
                for row in connection.execute(joined.where(codings.c.digest.in_(batch))):
                    if row.codec not in _KNOWN:
                        continue  # of a newer hub, or rotted: it is coded again
                    key = Digest(row.digest)
                    checksum = from_signed(row.checksum)
                    found[key] = Place(
                        key, Codec(row.codec), row.plain_size, checksum, row.name, row.offset, row.length
                    )
        return found

    def add(self, places: Sequence[Place], now: float) -> None:
        """Notes the codings of packs that were just sealed. A coding that is kept already keeps the place it has."""
        sizes: dict[str, int] = {}
        for place in places:
            sizes[place.pack] = max(sizes.get(place.pack, 0), place.offset + place.length)
        with self._database.write() as connection:
            rows = [{"name": name, "size": size, "used_at": now} for name, size in sizes.items()]
            insert_new(connection, schema.coding_packs, rows)
            ids = _ids(connection, sizes)
            insert_new(
                connection,
                schema.codings,
                [
                    {
                        "digest": place.digest,
                        "pack_id": ids[place.pack],
                        "offset": place.offset,
                        "length": place.length,
                        "codec": int(place.codec),
                        "plain_size": place.plain_size,
                        "checksum": signed(place.checksum),
                    }
                    for place in places
                ],
            )

    def used(self, packs: Collection[str], now: float) -> None:
        """Codings of these packs were of use."""
        table = schema.coding_packs
        with self._database.write() as connection:
            for batch in batches(sorted(packs)):
                connection.execute(update(table).where(table.c.name.in_(batch)).values(used_at=now))

    def forget(self, places: Collection[Place]) -> None:
        """Forgets codings that are damaged or gone where they rest; one that rests elsewhere by now stays."""
        table = schema.codings
        with self._database.write() as connection:
            ids = _ids(connection, {place.pack for place in places})
            for place in places:
                here = (table.c.pack_id == ids.get(place.pack), table.c.offset == place.offset)
                connection.execute(delete(table).where(table.c.digest == place.digest, *here))

    def kept(self) -> Kept:
        """What is kept altogether."""
        packs = select(func.count(), func.coalesce(func.sum(schema.coding_packs.c.size), 0))
        with self._database.read() as connection:
            count, size = connection.execute(packs).one()
            codings = connection.scalars(select(func.count()).select_from(schema.codings)).one()
        return Kept(count, codings, int(size))

    def packs(self) -> Mapping[str, int]:
        """All packs with their sizes in bytes, those that were of no use for longest first."""
        table = schema.coding_packs
        with self._database.read() as connection:
            rows = connection.execute(select(table.c.name, table.c.size).order_by(table.c.used_at, table.c.id))
            return {row.name: row.size for row in rows}

    def drop(self, packs: Collection[str]) -> None:
        """Forgets these packs and every coding in them; whoever has their bytes may delete them after that."""
        packs_table, table = schema.coding_packs, schema.codings
        with self._database.write() as connection:
            for batch in batches(sorted(packs)):
                ids = list(_ids(connection, batch).values())
                connection.execute(delete(table).where(table.c.pack_id.in_(ids)))
                connection.execute(delete(packs_table).where(packs_table.c.id.in_(ids)))


def _ids(connection: Connection, names: Collection[str]) -> dict[str, int]:
    """Row ids of packs by name; a pack that is not known is left out."""
    table = schema.coding_packs
    found: dict[str, int] = {}
    for batch in batches(sorted(names)):
        query = select(table.c.name, table.c.id).where(table.c.name.in_(batch))
        found.update((row.name, row.id) for row in connection.execute(query))
    return found
