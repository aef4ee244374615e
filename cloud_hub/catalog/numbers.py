"""The only place where numbers about releases are kept: what jobs and people measured, each counted once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, or_, select

from cloud_hub.catalog import schema, traits
from cloud_hub.catalog.database import Database, batches, insert_new
from modelsyncd.digest import digest_of
from modelsyncd.names import ModelName, ModelRef, parse_model
from modelsyncd.release import Release


@dataclass(frozen=True, slots=True)
class NumberRow:
    """A number about a release. `at` is seconds since 1970 UTC; with `who` the key names it among all numbers."""

    model: ModelName
    number: int
    name: str
    value: float
    dataset: str
    stage: str
    at: float
    who: str
    key: bytes
    variant: str = ""
    """What form of the release it is about; "" for the release."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some numbers by time, and behind which place more begin; None when there are none."""

    rows: Sequence[NumberRow]
    next: tuple[float, int] | None = None


class Numbers:
    """Numbers. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Sequence[NumberRow]) -> tuple[int, Sequence[NumberRow]]:
        """Keeps those that are new and whose releases are there; how many those were, and whose releases are not."""
        with self._database.write() as connection:
            there = _there(connection, {row.model for row in rows})
            lost = [row for row in rows if (row.model, row.number) not in there]
            fresh = {(row.who, row.key): row for row in reversed(rows) if (row.model, row.number) in there}
            for known in _known(connection, fresh):
                del fresh[known]
            insert_new(connection, schema.numbers, [_values(row) for row in reversed(fresh.values())])
            about: dict[tuple[ModelName, int], set[str]] = {}
            for row in fresh.values():
                about.setdefault((row.model, row.number), set()).add(row.name)
            for (model, number), names in about.items():
                traits.measured(connection, model, number, names)
        return len(fresh), lost

    def list(
        self, ref: ModelRef, name: str = "", *, limit: int = 1_000, after: tuple[float, int] | None = None
    ) -> Page:
        """At most `limit` numbers about a model, or one release of it, by time, those behind `after`."""
        table = schema.numbers
        query = select(table).where(_about(ref, name)).order_by(table.c.at, table.c.id).limit(limit + 1)
        if after is not None:
            at, place = after
            query = query.where(or_(table.c.at > at, and_(table.c.at == at, table.c.id > place)))
        with self._database.read() as connection:
            found = connection.execute(query).mappings().all()
        shown = found[:limit]
        more = (shown[-1]["at"], shown[-1]["id"]) if len(found) > limit else None
        return Page([_row(row) for row in shown], more)

    def newest(self, ref: ModelRef, name: str = "") -> Sequence[NumberRow]:
        """Of each name about each release or form of it the newest, by number, name and variant."""
        table = schema.numbers
        alike = (table.c.model, table.c.number, table.c.name, table.c.variant)
        # The index answers this alone; a window over the rows would read each of them.
        last = select(*alike, func.max(table.c.at).label("at")).where(_about(ref, name)).group_by(*alike).subquery()
        same = and_(*(table.c[column] == last.c[column] for column in ("model", "number", "name", "variant", "at")))
        query = select(table).join(last, same).order_by(table.c.number, table.c.name, table.c.variant, table.c.id)
        with self._database.read() as connection:
            rows = [_row(row) for row in connection.execute(query).mappings()]
        return list({(row.number, row.name, row.variant): row for row in rows}.values())


def publish(connection: Connection, release: Release, who: str, now: float) -> None:
    """Keeps what a new release says of itself among the numbers about it, as measured when it was made."""
    at = float(release.created_at or now)
    rows = [
        NumberRow(release.model, release.number, name, value, "", "", at, who, _key(release, name))
        for name, value in sorted(release.metrics.items())
    ]
    insert_new(connection, schema.numbers, [_values(row) for row in rows])


def _key(release: Release, name: str) -> bytes:
    """No sender's own key is as long."""
    return b"published" + digest_of(f"{release.model}:{release.number} {name}".encode()) + bytes(32)


def _there(connection: Connection, wanted: Collection[ModelName]) -> set[tuple[ModelName, int]]:
    """Releases that there are of these models."""
    models, releases = schema.models, schema.releases
    query = select(models.c.name, releases.c.number).join(releases, releases.c.model_id == models.c.id)
    return {
        (parse_model(name), number)
        for batch in batches([str(model) for model in wanted])
        for name, number in connection.execute(query.where(models.c.name.in_(batch)))
    }


def _known(connection: Connection, wanted: Iterable[tuple[str, bytes]]) -> set[tuple[str, bytes]]:
    """Those of (who, key) that are there."""
    table = schema.numbers
    by_sender: dict[str, list[bytes]] = {}
    for who, key in wanted:
        by_sender.setdefault(who, []).append(key)
    return {
        (who, bytes(key))
        for who, keys in by_sender.items()
        for batch in batches(keys)
        for key in connection.scalars(select(table.c.key).where(table.c.who == who, table.c.key.in_(batch)))
    }


def _about(ref: ModelRef, name: str) -> ColumnElement[bool]:
    table = schema.numbers
    about = [table.c.model == str(ref.model)]
    if ref.number is not None:
        about.append(table.c.number == ref.number)
    if name:
        about.append(table.c.name == name)
    return and_(*about)


def _values(row: NumberRow) -> dict[str, object]:
    return {
        "model": str(row.model),
        "number": row.number,
        "name": row.name,
        "value": row.value,
        "dataset": row.dataset,
        "stage": row.stage,
        "at": row.at,
        "who": row.who,
        "key": row.key,
        "variant": row.variant,
    }


def _row(row: RowMapping) -> NumberRow:
    return NumberRow(
        parse_model(row["model"]),
        row["number"],
        row["name"],
        row["value"],
        row["dataset"],
        row["stage"],
        row["at"],
        row["who"],
        bytes(row["key"]),
        row["variant"],
    )
