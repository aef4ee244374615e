"""The only list of the tables that say where bytes lie.

* A chunk's place is (pack, offset, length) of its encoded bytes; nothing but `chunks` refers to packs, so packs can be
  rewritten and chunks marked and swept without touching any other table. `packs.at` is when a pack was begun, in
  seconds since 1970 UTC: what lies in young ones may belong to a push that is under way.
* A coding is found by a key over what it codes and against what; nothing refers to codings, so they may go at any time.
  `coding_packs.used_at` says which packs of them were of no use for longest.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, LargeBinary, String, Table

from cloud_hub.catalog.columns import ID, metadata

packs = Table(
    "packs",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("at", Double, nullable=False, default=0.0, server_default="0"),
)

chunks = Table(
    "chunks",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("pack_id", ForeignKey("packs.id"), nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("length", Integer, nullable=False),
    Column("codec", Integer, nullable=False),
    Column("plain_size", Integer, nullable=False),
    Column("checksum", BigInteger, nullable=False),
    Index("chunks_by_pack", "pack_id"),
    sqlite_with_rowid=False,
)

coding_packs = Table(
    "coding_packs",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("used_at", Double, nullable=False),
)

codings = Table(
    "codings",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("pack_id", ForeignKey("coding_packs.id", ondelete="CASCADE"), nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("length", Integer, nullable=False),
    Column("codec", Integer, nullable=False),
    Column("plain_size", Integer, nullable=False),
    Column("checksum", BigInteger, nullable=False),
    Index("codings_by_pack", "pack_id"),
    sqlite_with_rowid=False,
)
