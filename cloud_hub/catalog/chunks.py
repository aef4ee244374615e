"""The only place where it is asked where a chunk rests; one row for each chunk that is durable in a pack."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

from sqlalchemy import ColumnElement, Connection, Row, delete, func, select

from cloud_hub.catalog import schema
from cloud_hub.catalog.database import Database, batches, insert_new
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest
from modelsyncd.errors import DamageError
from modelsyncd.limits import LIMITS
from modelsyncd.store.packs import Place

_Row = Row[bytes, int, int, int, int, int, int, str]
_KNOWN = frozenset(map(int, Codec))
_CODECS = 1 << 8  # a header has a byte for the codec
_RANGE = 1 << 64  # a checksum has 64 bits; the integers of SQL have a sign and 63


class Chunks:
    """Places of chunks by digest. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def places(self, digests: Collection[Digest]) -> dict[Digest, Place]:
        """Where these chunks rest; one that is not here is left out."""
        found: dict[Digest, Place] = {}
        table = schema.chunks
        with self._database.read() as connection:
            for batch in batches(list(digests)):
                found.update((place.digest, place) for place in select_places(connection, table.c.digest.in_(batch)))
        return found

    def missing(self, digests: Collection[Digest]) -> list[Digest]:
        """Those of these chunks that are not here, each once, in the order given."""
        table = schema.chunks
        absent = dict.fromkeys(digests)
        with self._database.read() as connection:
            for batch in batches(list(absent)):
                query = select(table.c.digest).join(schema.packs).where(table.c.digest.in_(batch))
                for raw in connection.scalars(query).all():
                    absent.pop(Digest(raw), None)  # pages out of order may name one twice
        return list(absent)

    def add(self, places: Sequence[Place], now: float = 0.0) -> None:
        """Notes where chunks rest; they are durable there already. A chunk that is here keeps the place it has.

        A row whose pack is unknown says nothing, and goes. A pack that is new began `now`, seconds since 1970 UTC.
        """
        table = schema.chunks
        with self._database.write() as connection:
            packs = _pack_ids(connection, {place.pack for place in places}, now)
            known = select(schema.packs.c.id)
            for batch in batches([place.digest for place in places]):
                connection.execute(delete(table).where(table.c.digest.in_(batch), table.c.pack_id.not_in(known)))
            insert_new(
                connection,
                schema.chunks,
                [
                    {
                        "digest": place.digest,
                        "pack_id": packs[place.pack],
                        "offset": place.offset,
                        "length": place.length,
                        "codec": int(place.codec),
                        "plain_size": place.plain_size,
                        "checksum": signed(place.checksum),
                    }
                    for place in places
                ],
            )

    def forget(self, places: Collection[Place]) -> None:
        """Forgets chunks that are damaged or gone where they rest, so that they are asked for again.

        A chunk that rests elsewhere by now is not forgotten.
        """
        table = schema.chunks
        with self._database.write() as connection:
            packs = _pack_ids(connection, {place.pack for place in places})
            for place in places:
                here = (table.c.pack_id == packs[place.pack], table.c.offset == place.offset)
                connection.execute(delete(table).where(table.c.digest == place.digest, *here))

    def page(self, after: Digest | None, limit: int) -> Sequence[Place]:
        """At most `limit` chunks in the order of their digests, the first one after the digest `after`."""
        with self._database.read() as connection:
            return select_places(connection, schema.chunks.c.digest > (after or b""), limit)

    def end(self, pack: str) -> int:
        """The byte after the last chunk that is known to rest in a pack; 0 for none."""
        table = schema.chunks
        query = select(func.max(table.c.offset + table.c.length)).join(schema.packs).where(schema.packs.c.name == pack)
        with self._database.read() as connection:
            return connection.scalars(query).one() or 0

    def count(self) -> int:
        """How many chunks are here."""
        with self._database.read() as connection:
            return connection.scalars(select(func.count()).select_from(schema.chunks)).one()


def select_places(connection: Connection, condition: ColumnElement[bool], limit: int | None = None) -> list[Place]:
    """Where chunks rest, some in the order of their digests when there is a limit."""
    chunks, packs = schema.chunks, schema.packs
    query = select(chunks, packs.c.name).join(packs, packs.c.id == chunks.c.pack_id).where(condition)
    if limit is not None:
        query = query.order_by(chunks.c.digest).limit(limit)
    return [_place(row) for row in connection.execute(query)]


def _place(row: _Row) -> Place:
    """What the row says; whoever reads from there finds out whether it is so, and whether its codec is known here.

    Raises DamageError for a row that SQLite itself could not have written.
    """
    digest, _, offset, length, codec, plain_size, checksum, pack = row
    if not all(isinstance(one, int) for one in (offset, length, codec, plain_size, checksum)):
        raise DamageError(
            "the catalogue is damaged: a row of the index has other things than numbers in it",
            hint="stop the hub and restore catalog.db from a backup",
        )
    if not 0 < codec < _CODECS or offset < 0 or not 0 < length <= 2 * LIMITS.chunk_bytes:
        # nothing that a hub ever wrote: a row that has rotted, which leads nowhere and is forgotten when it is followed
        return Place(Digest(digest), Codec.STORED, 0, 0, pack, offset, 0)
    known = Codec(codec) if codec in _KNOWN else cast("Codec", codec)
    return Place(Digest(digest), known, plain_size, from_signed(checksum), pack, offset, length)


def _pack_ids(connection: Connection, names: Collection[str], now: float = 0.0) -> dict[str, int]:
    """Row ids of packs by name; a pack that has none gets one."""
    insert_new(connection, schema.packs, [{"name": name, "at": now} for name in names])
    table = schema.packs
    found: dict[str, int] = {}
    for batch in batches(list(names)):
        query = select(table.c.name, table.c.id).where(table.c.name.in_(batch))
        found.update((row.name, row.id) for row in connection.execute(query))
    return found


def signed(checksum: int) -> int:
    """A checksum as SQL can hold it."""
    return checksum - _RANGE if checksum >= _RANGE // 2 else checksum


def from_signed(number: int) -> int:
    """The checksum that `signed` wrote."""
    return number % _RANGE
