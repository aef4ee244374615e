"""The only place that finds releases by a condition: sorted, a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, FromClause, and_, func, or_, select

from cloud_hub.catalog import schema, traits
from cloud_hub.catalog.database import Database
from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelName, parse_model
from modelsyncd.query.fields import Kind, full_name, kind_of
from modelsyncd.query.traits import Trait
from modelsyncd.query.words import Condition


@dataclass(frozen=True, slots=True)
class Sort:
    """By which field; "" for when the hub took it, the newest first. What has no value comes last either way."""

    field: str = ""
    descending: bool = True


NEWEST = Sort()


@dataclass(frozen=True, slots=True)
class Place:
    """Behind which release a page begins: its value of the field that is sorted by, and its row."""

    value: str | float | None
    id: int


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A release that was found, with the traits that were asked for; `channels` by name."""

    model: ModelName
    number: int
    channels: tuple[str, ...]
    committed_at: float
    who: str
    traits: Sequence[Trait]


@dataclass(frozen=True, slots=True)
class FoundPage:
    """Some releases, and behind which place more begin; None when there are none."""

    rows: Sequence[FoundRow]
    next: Place | None = None


def parse_sort(text: str) -> Sort:
    """A field to sort by, "-" before it for the largest first; "" for the newest. Raises BadInputError."""
    if not text:
        return NEWEST
    descending, name = text.startswith("-"), full_name(text.removeprefix("-"))
    if name in ("channel", "labels.", "metrics.") or len(name) > 300:
        raise BadInputError(
            f"releases can't be sorted by {text[:80]!r}", hint="as in created, -size, metrics.precision"
        )
    return Sort(name, descending)


class Search:
    """Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self,
        condition: Condition,
        sort: Sort = NEWEST,
        *,
        limit: int,
        after: Place | None = None,
        fields: Collection[str] = (),
    ) -> FoundPage:
        """At most `limit` releases for which the condition is true, behind `after`. Raises BadInputError."""
        with self._database.read() as connection:
            found = self._places(connection, condition, sort, limit + 1, after)
            shown = found[:limit]
            rows = _rows(connection, [place.id for place in shown], fields)
        return FoundPage(rows, shown[-1] if len(found) > limit else None)

    def _places(
        self, connection: Connection, condition: Condition, sort: Sort, limit: int, after: Place | None
    ) -> list[Place]:
        releases = schema.releases
        value, joined = _sorted_by(sort)
        true_for = traits.matching(condition, connection.dialect.name)
        query = select(value, releases.c.id).select_from(joined).where(true_for)
        if after is not None:
            query = query.where(_behind(after, value, sort))
        if sort.field not in ("", "model", "number"):
            query = query.order_by(value.is_(None))
        if sort.field:
            query = query.order_by(value.desc() if sort.descending else value.asc())
        query = query.order_by(releases.c.id.desc()).limit(limit)
        return [Place(*row) for row in connection.execute(query)]


def _sorted_by(sort: Sort) -> tuple[ColumnElement[str] | ColumnElement[float], FromClause]:
    releases, models, table = schema.releases, schema.models, schema.traits
    joined = releases.join(models, models.c.id == releases.c.model_id)
    match sort.field:
        case "":
            return releases.c.id, joined
        case "model":
            return models.c.name, joined
        case "number":
            return releases.c.number, joined
    column = table.c.text if kind_of(sort.field) is Kind.TEXT else table.c.number
    best = (func.max if sort.descending else func.min)(column).label("value")
    values = select(table.c.release_id, best).where(table.c.key == sort.field).group_by(table.c.release_id).subquery()
    return values.c.value, joined.outerjoin(values, values.c.release_id == releases.c.id)


def _behind(after: Place, value: ColumnElement[str] | ColumnElement[float], sort: Sort) -> ColumnElement[bool]:
    older = schema.releases.c.id < after.id
    if not sort.field:
        return older
    if after.value is None:
        return and_(value.is_(None), older)
    later = value < after.value if sort.descending else value > after.value
    return or_(later, and_(value == after.value, older), value.is_(None))


def _rows(connection: Connection, ids: Sequence[int], fields: Collection[str]) -> list[FoundRow]:
    releases, models, channels = schema.releases, schema.models, schema.channels
    named: dict[int, list[str]] = {one: [] for one in ids}
    query = (
        select(channels.c.release_id, channels.c.name).where(channels.c.release_id.in_(ids)).order_by(channels.c.name)
    )
    for release_id, channel in connection.execute(query):
        named[release_id].append(channel)
    with_traits = traits.load(connection, ids, fields) if fields else {}
    heads = (
        select(releases.c.id, models.c.name, releases.c.number, releases.c.committed_at, releases.c.who)
        .join(models, models.c.id == releases.c.model_id)
        .where(releases.c.id.in_(ids))
    )
    found = {
        row.id: FoundRow(
            parse_model(row.name),
            row.number,
            tuple(named[row.id]),
            row.committed_at,
            row.who,
            with_traits.get(row.id, ()),
        )
        for row in connection.execute(heads)
    }
    return [found[one] for one in ids]
