"""The only place where traits of releases are kept, and conditions over them become SQL.

Law: what comes from a query reaches the database as a bound value, never as text of a statement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, false, func, insert, not_, or_, select, true

from cloud_hub.catalog import derivations, lineage, schema
from cloud_hub.catalog.database import Database, batches
from modelsyncd.errors import BadInputError, NotFoundError
from modelsyncd.names import ModelName
from modelsyncd.query.fields import Kind, kind_of
from modelsyncd.query.judging import folded
from modelsyncd.query.traits import METRIC, VERSION, Trait, traits_of
from modelsyncd.query.words import And, Any, Compare, Comparison, Condition, Field, Not, Number, Operand, Or, Text
from modelsyncd.release import Release

_ORDERS = {Compare.LESS: "__lt__", Compare.AT_MOST: "__le__", Compare.MORE: "__gt__", Compare.AT_LEAST: "__ge__"}


@dataclass(frozen=True, slots=True)
class Stale:
    """A release whose traits are not those of today's rules."""

    id: int
    model: str
    number: int


class Traits:
    """Traits. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stale(self, limit: int, before: int | None = None) -> Sequence[Stale]:
        """At most so many releases whose traits are to be made anew, the newest first; of those before a row."""
        rows, models, kept = schema.releases, schema.models, schema.indexed
        query = (
            select(rows.c.id, models.c.name, rows.c.number)
            .join(models, models.c.id == rows.c.model_id)
            .outerjoin(kept, kept.c.release_id == rows.c.id)
            .where(or_(kept.c.version.is_(None), kept.c.version < VERSION))
            .order_by(rows.c.id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(rows.c.id < before)
        with self._database.read() as connection:
            return [Stale(*row) for row in connection.execute(query)]

    def keep(self, release: Release, found: Iterable[Trait]) -> None:
        """Makes a release that is there findable by these, and by what it came from. Raises NotFoundError."""
        with self._database.write() as connection:
            release_id = _id_of(connection, release.model, release.number)
            if release_id is None:
                raise NotFoundError(f"there is no release {release.model}:{release.number}")
            write(connection, release_id, release, found)
            _stamp(connection, release_id)

    def of(self, ids: Collection[int], keys: Collection[str] | None = None) -> dict[int, list[Trait]]:
        """The traits of releases by row id, all or those with some keys."""
        with self._database.read() as connection:
            return load(connection, ids, keys)


def load(connection: Connection, ids: Collection[int], keys: Collection[str] | None = None) -> dict[int, list[Trait]]:
    """See `Traits.of`."""
    table = schema.traits
    found: dict[int, list[Trait]] = {one: [] for one in ids}
    for batch in batches(list(ids)):
        query = select(table).where(table.c.release_id.in_(batch)).order_by(table.c.id)
        if keys is not None:
            query = query.where(table.c.key.in_(list(keys)))
        for row in connection.execute(query):
            value = row.text if row.number is None else row.number
            found[row.release_id].append(Trait(row.key, value, row.variant))
    return found


def enter(connection: Connection, release_id: int, release: Release) -> None:
    """Has a release that is new be found by what it says itself, and what it came from know of it: its files are read
    later, and until then a gc must not take its parents for nobody's.
    """
    write(connection, release_id, release, traits_of(release, {}))


def write(connection: Connection, release_id: int, release: Release, found: Iterable[Trait]) -> None:
    """Makes these the traits of a release, and numbers that were recorded about it since; and what it came from."""
    table = schema.traits
    connection.execute(delete(table).where(table.c.release_id == release_id))
    rows = [_row(release_id, trait) for trait in found]
    if rows:
        connection.execute(insert(table), rows)
    measured(connection, release.model, release.number)
    lineage.write(connection, release_id, release)
    derivations.write(connection, release_id, release)


def _stamp(connection: Connection, release_id: int) -> None:
    kept = schema.indexed
    connection.execute(delete(kept).where(kept.c.release_id == release_id))
    connection.execute(insert(kept).values(release_id=release_id, version=VERSION))


def measured(connection: Connection, model: ModelName, number: int, names: Collection[str] | None = None) -> None:
    """Has the newest of each number that was recorded about a release count as its metric: of these names, or all.

    As for a rule, those count that are about the release as a whole, or about the first of its variants.
    """
    numbers, table = schema.numbers, schema.traits
    release_id = _id_of(connection, model, number)
    forms = () if release_id is None else forms_of(connection, release_id)
    about = and_(numbers.c.model == str(model), numbers.c.number == number, numbers.c.variant.in_(forms))
    if names is None:
        names = connection.scalars(select(numbers.c.name).distinct().where(about)).all()
    for name in names:
        newest = select(numbers.c.value).where(about, numbers.c.name == name)
        value = connection.scalars(newest.order_by(numbers.c.at.desc(), numbers.c.id.desc()).limit(1)).one_or_none()
        if value is not None and release_id is not None:
            trait = Trait(f"{METRIC}{name}", value)
            connection.execute(delete(table).where(table.c.release_id == release_id, table.c.key == trait.key))
            connection.execute(insert(table).values(**_row(release_id, trait)))


def forms_of(connection: Connection, release_id: int) -> Sequence[str]:
    """Numbers about which variants are numbers about the release: "" for itself, and the first."""
    table = schema.variants
    query = select(table.c.name).where(table.c.release_id == release_id).order_by(table.c.position).limit(1)
    return ("", *connection.scalars(query))


def _id_of(connection: Connection, model: ModelName, number: int) -> int | None:
    rows, models = schema.releases, schema.models
    query = select(rows.c.id).join(models, models.c.id == rows.c.model_id)
    found: int | None = connection.scalars(
        query.where(models.c.name == str(model), rows.c.number == number)
    ).one_or_none()
    return found


def _row(release_id: int, trait: Trait) -> dict[str, object]:
    return {
        "release_id": release_id,
        "variant": trait.variant,
        "key": trait.key,
        "text": trait.value if isinstance(trait.value, str) else None,
        "number": None if isinstance(trait.value, str) else trait.value,
    }


# --- conditions ---


def matching(condition: Condition, dialect: str) -> ColumnElement[bool]:
    """A condition on rows of `releases` joined with `models`. Raises BadInputError."""
    match condition:
        case And(conditions):
            return and_(true(), *(matching(one, dialect) for one in conditions))
        case Or(conditions):
            return or_(false(), *(matching(one, dialect) for one in conditions))
        case Not(inner):
            return not_(matching(inner, dialect))
        case Comparison(Field(name), Compare.NOT_EQUAL, value):
            return not_(_compared(name, Compare.EQUAL, value, dialect))
        case Comparison(Field(name), how, value):
            return _compared(name, how, value, dialect)
        case _:
            raise BadInputError("a comparison begins with a field")


def _compared(name: str, how: Compare, value: Operand, dialect: str) -> ColumnElement[bool]:
    releases, models, channels = schema.releases, schema.models, schema.channels
    if name == "model":
        return true() if isinstance(value, Any) else _text(models.c.name, how, value, dialect)
    if name == "number":
        return true() if isinstance(value, Any) else _number(releases.c.number, how, value)
    if name == "channel":
        named = select(channels.c.release_id)
        if not isinstance(value, Any):
            named = named.where(_text(channels.c.name, how, value, dialect))
        return releases.c.id.in_(named)
    return releases.c.id.in_(_with_trait(name, how, value, dialect))


def _with_trait(name: str, how: Compare, value: Operand, dialect: str) -> Select[tuple[int]]:
    table = schema.traits
    found = select(table.c.release_id).where(table.c.key == name)
    if isinstance(value, Any):
        return found
    if kind_of(name) is Kind.TEXT:
        return found.where(_text(table.c.text, how, value, dialect))
    return found.where(_number(table.c.number, how, value))


def _text(column: ColumnElement[str], how: Compare, value: Operand, dialect: str) -> ColumnElement[bool]:
    if not isinstance(value, Text):
        raise BadInputError("a text is compared with a text")
    if how is Compare.HAS:
        return func.lower(column).contains(folded(value.text), autoescape=True)
    if "*" not in value.text:
        return column == value.text
    if dialect == "sqlite":
        return column.bool_op("GLOB")("".join(f"[{char}]" if char in "?[" else char for char in value.text))
    return column.like("".join({"*": "%"}.get(char, f"\\{char}" if char in "%_\\" else char) for char in value.text))


def _number(column: ColumnElement[float], how: Compare, value: Operand) -> ColumnElement[bool]:
    if not isinstance(value, Number):
        raise BadInputError("a number is compared with a number")
    if how is Compare.EQUAL:
        return column == value.value
    order: ColumnElement[bool] = getattr(column, _ORDERS[how])(value.value)
    return order
