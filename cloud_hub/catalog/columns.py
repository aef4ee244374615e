"""The only place that says what kinds of columns the catalogue's tables have, and holds the tables together."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, MetaData, Text

metadata = MetaData()

# Rows are sorted and paged by names: the order must be that of code points everywhere, as in Python.
NAME = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows by itself only in a column whose type is exactly INTEGER.
ID = BigInteger().with_variant(Integer, "sqlite")
