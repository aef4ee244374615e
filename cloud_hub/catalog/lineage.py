"""The only place where it is kept and walked which releases came from which."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select

from cloud_hub.catalog import releases, schema
from cloud_hub.catalog.database import Database, batches
from cloud_hub.catalog.rows import ReleaseRow
from modelsyncd.digest import Digest
from modelsyncd.names import ModelName
from modelsyncd.release import Release

MOST = 1_000  # releases of one answer, each way
_BATCH = 200  # names in one statement: SQLite nests no deeper than 1,000


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A release by its model and number."""

    model: str
    number: int


@dataclass(frozen=True, slots=True)
class Tie:
    """That `child` came from `parent` in a `role`; `digest` is the parent's, as the child says it."""

    child: Name
    parent: Name
    digest: Digest
    role: str


@dataclass(frozen=True, slots=True)
class Kin:
    """What a release came from and what came from it: those that are here, and the ties between them.

    A tie's parent may be of another hub, or gone: then it is not in `rows`. `cut` says that there was more to tell.
    """

    rows: Sequence[ReleaseRow]
    ties: Sequence[Tie]
    cut: bool = False


def write(connection: Connection, release_id: int, release: Release) -> None:
    """Makes the release findable from its parents; what was written of it before is forgotten."""
    table = schema.parents
    connection.execute(delete(table).where(table.c.release_id == release_id))
    rows = [
        {
            "release_id": release_id,
            "position": position,
            "model": str(parent.model),
            "number": parent.number,
            "release_digest": bytes(parent.release_digest),
            "role": parent.role,
        }
        for position, parent in enumerate(release.parents)
    ]
    if rows:
        connection.execute(insert(table), rows)


class Lineage:
    """What came from what. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, model: ModelName, number: int, *, depth: int, most: int = MOST) -> Kin:
        """What came before and after a release, at most `depth` steps and `most` releases away each way.

        Of its ancestors what else came from them is left out, and so is what else its descendants came from.
        """
        start = Name(str(model), number)
        with self._database.read() as connection:
            above = _walk(start, lambda names: _ties(connection, names, _is_child), lambda tie: tie.parent, depth, most)
            below = _walk(start, lambda names: _ties(connection, names, _is_parent), lambda tie: tie.child, depth, most)
            names = {start, *above.names, *below.names}
            return Kin(_rows(connection, names), [*above.ties, *below.ties], above.cut or below.cut)


@dataclass(frozen=True, slots=True)
class _Walk:
    names: Collection[Name]
    ties: Sequence[Tie]
    cut: bool


_Look = Callable[[Collection[Name]], Sequence[Tie]]


def _walk(start: Name, look: _Look, beyond: Callable[[Tie], Name], depth: int, most: int) -> _Walk:
    names, ties, front = {start}, list[Tie](), [start]
    for _ in range(depth):
        found = look(front)
        fresh = sorted({beyond(tie) for tie in found} - names)
        front = fresh[: most - len(names)]
        names.update(front)
        ties += [tie for tie in found if beyond(tie) in names]
        if len(front) < len(fresh):
            return _Walk(names, ties, cut=True)
        if not front:
            return _Walk(names, ties, cut=False)
    return _Walk(names, ties, cut=bool(look(front)))


def _is_child(name: Name) -> ColumnElement[bool]:
    return and_(schema.models.c.name == name.model, schema.releases.c.number == name.number)


def _is_parent(name: Name) -> ColumnElement[bool]:
    return and_(schema.parents.c.model == name.model, schema.parents.c.number == name.number)


def _ties(connection: Connection, names: Iterable[Name], which: Callable[[Name], ColumnElement[bool]]) -> Sequence[Tie]:
    table, rows, models = schema.parents, schema.releases, schema.models
    query = (
        select(models.c.name, rows.c.number, table.c.model, table.c.number, table.c.release_digest, table.c.role)
        .select_from(table)
        .join(rows, rows.c.id == table.c.release_id)
        .join(models, models.c.id == rows.c.model_id)
        .order_by(models.c.name, rows.c.number, table.c.position)
    )
    return [
        Tie(Name(child, child_number), Name(parent, parent_number), Digest(digest), role)
        for batch in batches(list(names), _BATCH)
        for child, child_number, parent, parent_number, digest, role in connection.execute(
            query.where(or_(*map(which, batch)))
        )
    ]


def _rows(connection: Connection, names: Iterable[Name]) -> Sequence[ReleaseRow]:
    rows, models = schema.releases, schema.models
    query = select(rows.c.id).join(models, models.c.id == rows.c.model_id)
    ids = [
        release
        for batch in batches(sorted(names), _BATCH)
        for release in connection.scalars(query.where(or_(*map(_is_child, batch))))
    ]
    loaded = releases.load(connection, ids)
    return [loaded[release] for release in ids]
