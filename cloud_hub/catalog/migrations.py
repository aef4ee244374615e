"""The only place where the catalogue's tables are made or brought up to date.

A new database gets the tables as `schema.py` has them now; an older one takes each step above its version, in order,
all in one transaction. A step is written in plain SQL against the tables as they were then, and never edited later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, inspect, select, update

from cloud_hub.catalog import schema
from cloud_hub.catalog.database import Database
from modelsyncd.errors import NewerFormatError

_VERSION = "schema"
_REVISION = "revision"


@dataclass(frozen=True, slots=True)
class Step:
    """Brings the tables from `version` - 1 to `version`."""

    version: int
    apply: Callable[[Connection], None]


STEPS: tuple[Step, ...] = ()


def migrate(database: Database, steps: Sequence[Step] = STEPS, newest: int = schema.SCHEMA_VERSION) -> None:
    """Makes the tables, or brings them to version `newest`.

    Raises NewerFormatError for a database of a newer hub; then nothing in it was changed.
    """
    with database.write() as connection:
        found = _version(connection)
        if found is None:
            schema.metadata.create_all(connection)
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
