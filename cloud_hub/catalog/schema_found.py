"""The only list of the tables by which releases are found.

* `traits`, `parents` and `derived` repeat what releases and the headers of their files say, to be found by; they can be
  made anew from those at any time, and `indexed` says by which version of the rules a release's were made.
  A trait's `variant` is "" when it is the release's own; either `text` or `number` is set.
* `parents` name releases by model and number, so that children are found when the parent is on another hub, too.
* `derived` finds what a step made of a version: `source` is the manifest that it was made from.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, LargeBinary, Table

from cloud_hub.catalog.columns import ID, NAME, metadata

traits = Table(
    "traits",
    metadata,
    Column("id", ID, primary_key=True),
    Column("release_id", ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
    Column("variant", NAME, nullable=False),
    Column("key", NAME, nullable=False),
    Column("text", NAME),
    Column("number", Double),
    Index("traits_by_release", "release_id", "key"),
    Index("traits_by_text", "key", "text"),
    Index("traits_by_number", "key", "number"),
)

indexed = Table(
    "indexed",
    metadata,
    Column("release_id", ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, nullable=False),
    Index("indexed_by_version", "version"),
)

parents = Table(
    "parents",
    metadata,
    Column("release_id", ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("model", NAME, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("release_digest", LargeBinary(32), nullable=False),
    Column("role", NAME, nullable=False),
    Index("parents_by_name", "model", "number"),
)

derived = Table(
    "derived",
    metadata,
    Column("source", LargeBinary(32), primary_key=True),
    Column("step", LargeBinary(32), primary_key=True),
    Column("release_id", ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
    Column("variant", NAME, primary_key=True),
    Index("derived_by_release", "release_id"),
)
