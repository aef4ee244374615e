"""The only place where the catalogue's tables are made or brought up to date.

A new database gets the tables as `schema.py` has them now; an older one takes each step above its version, in order,
all in one transaction. A step writes down the tables as they were then, apart from `schema.py`, and is never edited
later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    inspect,
    select,
    text,
    update,
)

from cloud_hub.catalog import schema
from cloud_hub.catalog.database import Database
from modelsyncd.errors import NewerFormatError
from modelsyncd.store.failpoints import Point, passing

_VERSION = "schema"
_REVISION = "revision"


@dataclass(frozen=True, slots=True)
class Step:
    """Brings the tables from `version` - 1 to `version`."""

    version: int
    apply: Callable[[Connection], None]


def _add_codings(connection: Connection) -> None:
    then = MetaData()
    Table(
        "coding_packs",
        then,
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("name", String, nullable=False, unique=True),
        Column("size", BigInteger, nullable=False),
        Column("used_at", Double, nullable=False),
    )
    Table(
        "codings",
        then,
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
    then.create_all(connection, checkfirst=False)


def _add_limits(connection: Connection) -> None:
    then = MetaData()

    def named(column: str, *, key: bool = True) -> Column[str]:
        text = Text().with_variant(Text(collation="C"), "postgresql")
        return Column(column, text, primary_key=key, nullable=False)

    def decided() -> tuple[Column[str], Column[float], Column[str]]:
        return (
            Column("who", String, nullable=False),
            Column("at", Double, nullable=False),
            Column("note", String, nullable=False),
        )

    Table(
        "limits",
        then,
        *map(named, ("model", "channel", "node", "selector")),
        Column("rate", BigInteger),
        Column("windows", String),
        Column("month_bytes", BigInteger),
        Column("paused", Integer),
        Column("background", Integer),
        Column("quota", BigInteger),
        *decided(),
        Index("limits_by_node", "node"),
    )
    Table(
        "pins",
        then,
        named("model"),
        Column("number", BigInteger, primary_key=True),
        *map(named, ("node", "selector")),
        *decided(),
        Index("pins_by_node", "node"),
    )
    Table(
        "consents",
        then,
        *map(named, ("node", "model")),
        Column("manifest", LargeBinary(32), primary_key=True),
        Column("number", BigInteger, nullable=False),
        *decided(),
    )
    Table(
        "decisions",
        then,
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("at", Double, nullable=False),
        Column("who", String, nullable=False),
        Column("kind", String, nullable=False),
        named("node", key=False),
        named("selector", key=False),
        Column("ref", String, nullable=False),
        Column("what", String, nullable=False),
        Column("note", String, nullable=False),
    )
    then.create_all(connection, checkfirst=False)


def _add_rights_and_numbers(connection: Connection) -> None:
    then = MetaData()

    def named(column: str, *, key: bool = True) -> Column[str]:
        text = Text().with_variant(Text(collation="C"), "postgresql")
        return Column(column, text, primary_key=key, nullable=False)

    Table(
        "rights",
        then,
        *map(named, ("models", "node", "selector")),
        Column("channels", String, nullable=False),
        Column("who", String, nullable=False),
        Column("at", Double, nullable=False),
        Column("note", String, nullable=False),
        Index("rights_by_node", "node"),
    )
    Table(
        "retries",
        then,
        *map(named, ("node", "model", "channel")),
        Column("count", BigInteger, nullable=False),
    )
    Table(
        "numbers",
        then,
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        named("model", key=False),
        Column("number", BigInteger, nullable=False),
        named("name", key=False),
        Column("value", Double, nullable=False),
        named("dataset", key=False),
        named("stage", key=False),
        Column("at", Double, nullable=False),
        named("who", key=False),
        Column("key", LargeBinary, nullable=False),
        UniqueConstraint("who", "key"),
        Index("numbers_by_time", "model", "at"),
        Index("numbers_by_release", "model", "number", "name", "at"),
    )
    then.create_all(connection, checkfirst=False)


def _add_offers(connection: Connection) -> None:
    then = MetaData()
    Table("releases", then, Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True))
    offers = Table(
        "offers",
        then,
        Column("who", Text().with_variant(Text(collation="C"), "postgresql"), primary_key=True),
        Column("id", LargeBinary(16), primary_key=True),
        Column("release_id", ForeignKey("releases.id", ondelete="CASCADE"), nullable=False),
        Column("at", Double, nullable=False),
        Index("offers_by_time", "at"),
        Index("offers_by_release", "release_id"),
    )
    then.create_all(connection, tables=[offers], checkfirst=False)


def _add_what_is_found(connection: Connection) -> None:
    then = MetaData()

    def named(column: str, *, key: bool = True) -> Column[str]:
        text = Text().with_variant(Text(collation="C"), "postgresql")
        return Column(column, text, primary_key=key, nullable=False)

    def release(*, key: bool = True) -> Column[int]:
        return Column("release_id", ForeignKey("releases.id", ondelete="CASCADE"), primary_key=key, nullable=False)

    def decided() -> tuple[Column[str], Column[float], Column[str]]:
        return (
            Column("who", String, nullable=False),
            Column("at", Double, nullable=False),
            Column("note", String, nullable=False),
        )

    number = BigInteger().with_variant(Integer, "sqlite")
    Table("releases", then, Column("id", number, primary_key=True))
    tables = [
        Table(
            "traits",
            then,
            Column("id", number, primary_key=True),
            release(key=False),
            named("variant", key=False),
            named("key", key=False),
            Column("text", Text().with_variant(Text(collation="C"), "postgresql")),
            Column("number", Double),
            Index("traits_by_release", "release_id", "key"),
            Index("traits_by_text", "key", "text"),
            Index("traits_by_number", "key", "number"),
        ),
        Table(
            "indexed",
            then,
            release(),
            Column("version", Integer, nullable=False),
            Index("indexed_by_version", "version"),
        ),
        Table(
            "parents",
            then,
            release(),
            Column("position", Integer, primary_key=True),
            named("model", key=False),
            Column("number", BigInteger, nullable=False),
            Column("release_digest", LargeBinary(32), nullable=False),
            named("role", key=False),
            Index("parents_by_name", "model", "number"),
        ),
        Table(
            "derived",
            then,
            Column("source", LargeBinary(32), primary_key=True),
            Column("step", LargeBinary(32), primary_key=True),
            release(),
            named("variant"),
            Index("derived_by_release", "release_id"),
        ),
        Table(
            "rules",
            then,
            *map(named, ("model", "channel")),
            named("candidates", key=False),
            Column("condition", String, nullable=False),
            *(named(column, key=False) for column in ("dataset", "stage", "variant")),
            *decided(),
        ),
        Table(
            "retentions",
            then,
            named("models"),
            Column("newest", BigInteger),
            Column("seconds", Double),
            *decided(),
        ),
    ]
    then.create_all(connection, tables=tables, checkfirst=False)
    connection.execute(text("ALTER TABLE nodes ADD COLUMN facts VARCHAR DEFAULT '{}' NOT NULL"))
    collated = ' COLLATE "C"' if connection.dialect.name == "postgresql" else ""
    connection.execute(text(f"ALTER TABLE numbers ADD COLUMN variant TEXT{collated} DEFAULT '' NOT NULL"))
    seconds = Double().compile(dialect=connection.dialect)
    connection.execute(text(f"ALTER TABLE packs ADD COLUMN at {seconds} DEFAULT '0' NOT NULL"))
    connection.execute(text("CREATE INDEX chunks_by_pack ON chunks (pack_id)"))
    connection.execute(text("DROP INDEX numbers_by_release"))
    connection.execute(text("CREATE INDEX numbers_by_release ON numbers (model, number, name, variant, at)"))


STEPS: tuple[Step, ...] = (
    Step(2, _add_codings),
    Step(3, _add_limits),
    Step(4, _add_rights_and_numbers),
    Step(5, _add_offers),
    Step(6, _add_what_is_found),
)


def migrate(database: Database, steps: Sequence[Step] = STEPS, newest: int = schema.SCHEMA_VERSION) -> None:
    """Makes the tables, or brings them to version `newest`.

    Raises NewerFormatError for a database of a newer hub; then nothing in it was changed.
    """
    with database.write() as connection:
        found = _version(connection)
        if found is None:
            schema.metadata.create_all(connection)
            passing(Point.TABLES_MADE)
            connection.execute(
                insert(schema.facts), [{"name": _VERSION, "value": newest}, {"name": _REVISION, "value": 1}]
            )
            return
        if found > newest:
            raise NewerFormatError(
                f"the catalogue has format {found}, and this hub knows formats up to {newest}",
                safe="nothing in it was changed",
                hint="start the newer modelsync-hub that wrote it, or restore the backup made before that upgrade",
            )
        for step in steps:
            if step.version > found:
                step.apply(connection)
                passing(Point.FORMAT_RAISED)
        connection.execute(update(schema.facts).where(schema.facts.c.name == _VERSION).values(value=newest))


def _version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(schema.facts.name):
        return None
    query = select(schema.facts.c.value).where(schema.facts.c.name == _VERSION)
    found: int = connection.scalars(query).one()
    return found


def revision(connection: Connection) -> int:
    """How often what a node should hold may have changed."""
    query = select(schema.facts.c.value).where(schema.facts.c.name == _REVISION)
    found: int = connection.scalars(query).one()
    return found


def bump(connection: Connection) -> None:
    """Something changed that can change what a node should hold."""
    fact = schema.facts
    connection.execute(update(fact).where(fact.c.name == _REVISION).values(value=fact.c.value + 1))


def lift(connection: Connection, least: int) -> None:
    """Makes the revision at least this: nodes ignore what is older than what they know."""
    fact = schema.facts
    connection.execute(update(fact).where(fact.c.name == _REVISION, fact.c.value < least).values(value=least))
