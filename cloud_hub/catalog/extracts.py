"""The only place that says what changed in a model since a node was told of it: releases, numbers and channels.

A mark is how far somebody was told: the largest row ids of releases and numbers, how many releases there were, the
version of the rules by which traits are made, and how many releases had traits by them. Where rows went, rules changed,
or a release got its traits after it was told of, all is told anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, or_, select

from cloud_hub.catalog import schema, traits
from cloud_hub.catalog.database import Database
from modelsyncd.names import ModelName
from modelsyncd.query.traits import VERSION, Trait

_MARK = re.compile(r"(\d{1,18})\.(\d{1,18})\.(\d{1,18})\.(\d{1,9})\.(\d{1,18})\.([0-9a-z.@=_,-]*)")


@dataclass(frozen=True, slots=True)
class ExtractRow:
    """A release, as it is found."""

    number: int
    committed_at: float
    who: str
    traits: Sequence[Trait]


@dataclass(frozen=True, slots=True)
class ExtractPage:
    """Changes of one model; `ids` are rows of releases, to be loaded some at a time. `mark` says that all were told."""

    anew: bool
    ids: Sequence[int]
    mark: str
    channels: Mapping[str, int]


class Extracts:
    """Extracts. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def changes(self, model: ModelName, mark: str) -> ExtractPage | None:
        """What changed since this mark ("" for never); None for nothing, and for a model that is not there."""
        with self._database.read() as connection:
            releases, models, numbers = schema.releases, schema.models, schema.numbers
            model_id = connection.scalars(select(models.c.id).where(models.c.name == str(model))).one_or_none()
            if model_id is None:
                return None
            mine = releases.c.model_id == model_id
            newest, count = connection.execute(select(func.max(releases.c.id), func.count()).where(mine)).one()
            heard = connection.scalars(select(func.max(numbers.c.id)).where(numbers.c.model == str(model))).one() or 0
            named = _channels(connection, model_id)
            indexed = _indexed(connection, model_id)
            now = f"{newest or 0}.{heard}.{count}.{VERSION}.{indexed}.{_shown(named)}"
            if now == mark:
                return None
            known = _MARK.fullmatch(mark)
            before = (0, 0, 0) if known is None else (int(known[1]), int(known[2]), int(known[3]))
            fresh = connection.scalars(
                select(releases.c.id).where(mine, releases.c.id > before[0]).order_by(releases.c.id)
            ).all()
            anew = (
                known is None
                or int(known[4]) != VERSION
                or before[2] + len(fresh) != count
                or int(known[5]) + _indexed(connection, model_id, before[0]) != indexed
            )
            if anew:
                fresh = connection.scalars(select(releases.c.id).where(mine).order_by(releases.c.id)).all()
                return ExtractPage(True, fresh, now, named)
            told_of = select(numbers.c.number).where(numbers.c.model == str(model), numbers.c.id > before[1])
            changed = select(releases.c.id).where(mine, or_(releases.c.id > before[0], releases.c.number.in_(told_of)))
            return ExtractPage(False, connection.scalars(changed.order_by(releases.c.id)).all(), now, named)

    def load(self, ids: Sequence[int]) -> Sequence[ExtractRow]:
        """Releases by row id, in that order; those that are gone meanwhile are left out."""
        releases = schema.releases
        query = select(releases.c.id, releases.c.number, releases.c.committed_at, releases.c.who)
        with self._database.read() as connection:
            found = traits.load(connection, ids)
            rows = {row.id: row for row in connection.execute(query.where(releases.c.id.in_(ids)))}
        there = [rows[one] for one in ids if one in rows]
        return [ExtractRow(row.number, row.committed_at, row.who, found[row.id]) for row in there]


def _indexed(connection: Connection, model_id: int, beyond: int = 0) -> int:
    """How many of a model's releases behind a row have their traits."""
    releases, kept = schema.releases, schema.indexed
    query = (
        select(func.count())
        .select_from(releases.join(kept, kept.c.release_id == releases.c.id))
        .where(releases.c.model_id == model_id, releases.c.id > beyond, kept.c.version >= VERSION)
    )
    return connection.scalars(query).one()


def _channels(connection: Connection, model_id: int) -> dict[str, int]:
    channels, releases = schema.channels, schema.releases
    query = (
        select(channels.c.name, releases.c.number)
        .join(releases, releases.c.id == channels.c.release_id)
        .where(channels.c.model_id == model_id)
        .order_by(channels.c.name)
    )
    return {name: number for name, number in connection.execute(query)}  # noqa: C416 - rows are no pairs to a type checker


def _shown(named: Mapping[str, int]) -> str:
    return ",".join(f"{name}={number}" for name, number in sorted(named.items()))
