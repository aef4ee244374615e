"""The only place where it is asked what holds releases, and where releases are removed. docs/retention.md lists it.

Law: what is removed was held by nothing in the transaction that removes it. Manifests that no release has any more go
with it; their chunks stay until a sweep finds that nothing needs them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, exists, func, insert, select, true, union

from cloud_hub.catalog import schema
from cloud_hub.catalog.database import Database, batches
from cloud_hub.catalog.decisions import By
from cloud_hub.catalog.lineage import Name
from cloud_hub.catalog.whom import Whom, columns
from modelsyncd.digest import Digest
from modelsyncd.errors import ModelsyncError
from modelsyncd.wire.nouns import decode_report

REMOVE = "remove"  # the kind of the decision that is noted for each release
_BATCH = 200  # releases of one transaction: pushes wait for no more than that
_MEMBER = "member"


@dataclass(frozen=True, slots=True)
class Aged:
    """A release, and when it was committed in seconds since 1970 UTC."""

    name: Name
    at: float


@dataclass(frozen=True, slots=True)
class Holdings:
    """All releases, what holds some of them, in words, and which came from which: pairs of child and parent."""

    releases: Sequence[Aged]
    held: Mapping[Name, str]
    ties: Sequence[tuple[Name, Name]] = field(default_factory=tuple)


class Removals:
    """Removes releases. Each method is one transaction unless it says otherwise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def look(self, busy: Collection[Digest] = ()) -> Holdings:
        """What there is, in the order in which it was committed. `busy` are manifests that somebody reads."""
        releases, models = schema.releases, schema.models
        query = select(models.c.name, releases.c.number, releases.c.committed_at).join(
            models, models.c.id == releases.c.model_id
        )
        query = query.order_by(releases.c.id)
        with self._database.read() as connection:
            found = [Aged(Name(name, number), at) for name, number, at in connection.execute(query)]
            held = dict(_Standings().of(connection)) | dict(_held(connection, true()))
            held.update((name, "is read") for name in _having(connection, busy))
            return Holdings(found, held, [*_came_from(connection), *_members(connection)])

    def manifests_without(self, going: Collection[Name]) -> frozenset[Digest]:
        """Manifests that no release would have any more when these are gone."""
        variants = schema.variants
        lost: set[Digest] = set()
        with self._database.read() as connection:
            ids = [found for batch in batches(sorted(going), _BATCH) for found in _ids(connection, batch).values()]
            leaving = set(ids)
            touched: set[Digest] = set()
            for batch in batches(ids):
                query = select(variants.c.manifest).where(variants.c.release_id.in_(batch))
                touched.update(map(Digest, connection.scalars(query)))
            for some in batches(sorted(touched)):
                kept: dict[Digest, bool] = dict.fromkeys(some, False)
                rows = select(variants.c.manifest, variants.c.release_id).where(variants.c.manifest.in_(some))
                for manifest, release in connection.execute(rows):
                    kept[Digest(manifest)] |= release not in leaving
                lost.update(manifest for manifest, stays in kept.items() if not stays)
        return frozenset(lost)

    def remove(
        self, going: Mapping[Name, str], by: By, busy: Callable[[], Collection[Digest]] = tuple
    ) -> Iterator[Sequence[Name]]:
        """Removes these, for the reasons given, a few in each transaction; yields those that are gone.

        One that something holds by now stays, and so does what it came from: so what came from others has to go before
        them. `busy` says which manifests somebody reads by now.
        """
        left = dict(going)
        standings = _Standings()
        for batch in batches(list(going), _BATCH):
            with self._database.write() as connection:
                ids = _ids(connection, batch)
                models = sorted({name.model for name in batch})
                held = {name for name, _ in _held(connection, schema.models.c.name.in_(models))}
                held.update(_having(connection, busy()), (name for name, _ in standings.of(connection)))
                _stay(connection, left, held, batch)
                ids = {name: release for name, release in ids.items() if name in left}
                _delete(connection, list(ids.values()))
                _note(connection, {name: going[name] for name in ids}, by)
            yield sorted(ids)


def _stay(connection: Connection, left: dict[Name, str], held: Collection[Name], batch: Sequence[Name]) -> None:
    """Takes out of what is left to go what is held, and those of a batch from which something came that stays."""
    while True:
        for name in held:
            left.pop(name, None)
        held = _children(connection, batch, left) & left.keys()
        if not held:
            return


class _Standings:
    """What nodes said that they run, have or fetch. What a node said is read once, however often it is asked."""

    def __init__(self) -> None:
        self._read: dict[bytes, Sequence[Name]] = {}

    def of(self, connection: Connection) -> Iterator[tuple[Name, str]]:
        for node, report in connection.execute(select(schema.nodes.c.name, schema.nodes.c.report)):
            if not report:
                continue
            if report not in self._read:
                self._read[report] = _standing(report)
            yield from ((name, f"node {node} has it or fetches it") for name in self._read[report])


def _standing(report: bytes) -> Sequence[Name]:
    with suppress(ModelsyncError):  # of a newer node
        standings = decode_report(report).standings
        return [Name(str(one.model), n) for one in standings for n in {one.active, one.staged, one.desired} - {0}]
    return ()


def _held(connection: Connection, some: ColumnElement[bool]) -> Iterator[tuple[Name, str]]:
    """Releases of some models that people or nodes refer to, and the newest of each: a number is told by it."""
    models, releases, channels, moves = schema.models, schema.releases, schema.channels, schema.moves
    pins, consents = schema.pins, schema.consents
    below = moves.alias()
    named = (
        select(models.c.name, releases.c.number)
        .join(channels, channels.c.release_id == releases.c.id)
        .join(models, models.c.id == releases.c.model_id)
    )
    before = (
        select(models.c.name, below.c.to_number)
        .join(channels, channels.c.model_id == models.c.id)
        .join(moves, moves.c.id == channels.c.top)
        .join(below, below.c.id == moves.c.below)
    )
    newest = select(models.c.name, func.max(releases.c.number)).join(models, models.c.id == releases.c.model_id)
    queries = (
        ("a node may exceed its month for it", _of_models(consents, some)),
        ("is pinned", _of_models(pins, some)),
        ("a rollback goes to it", before.where(some)),
        ("a channel names it", named.where(some)),
        ("is the newest", newest.where(some).group_by(models.c.name)),
    )
    for why, query in queries:
        for model, number in connection.execute(query):
            yield Name(model, number), why


def _of_models(table: Table, some: ColumnElement[bool]) -> Select[tuple[str, int]]:
    models = schema.models
    return select(table.c.model, table.c.number).join(models, models.c.name == table.c.model).where(some)


def _came_from(connection: Connection) -> Iterator[tuple[Name, Name]]:
    parents, releases, models = schema.parents, schema.releases, schema.models
    query = (
        select(models.c.name, releases.c.number, parents.c.model, parents.c.number)
        .join(releases, releases.c.id == parents.c.release_id)
        .join(models, models.c.id == releases.c.model_id)
    )
    for model, number, parent, parent_number in connection.execute(query):
        yield Name(model, number), Name(parent, parent_number)


def _members(connection: Connection) -> Iterator[tuple[Name, Name]]:
    """Bundles and what they were put together from."""
    traits, releases, models = schema.traits, schema.releases, schema.models
    query = (
        select(models.c.name, releases.c.number, traits.c.text)
        .join(releases, releases.c.id == traits.c.release_id)
        .join(models, models.c.id == releases.c.model_id)
        .where(traits.c.key == _MEMBER)
    )
    for model, number, text in connection.execute(query):
        member, _, member_number = (text or "").partition(":")
        if member_number.isdecimal():
            yield Name(model, number), Name(member, int(member_number))


def _children(connection: Connection, batch: Sequence[Name], going: Collection[Name]) -> set[Name]:
    """Those of a batch that a release came from, or was put together from, which is not going."""
    parents, traits = schema.parents, schema.traits
    releases, models = schema.releases, schema.models
    named = select(parents.c.release_id, parents.c.model, parents.c.number.label("number")).where(
        parents.c.model.in_({name.model for name in batch})
    )
    wanted, held = set(batch), set()
    child = select(models.c.name, releases.c.number).join(models, models.c.id == releases.c.model_id)
    pairs = [(row.release_id, Name(row.model, row.number)) for row in connection.execute(named)]
    texts = [f"{name.model}:{name.number}" for name in batch]
    bundled = select(traits.c.release_id, traits.c.text).where(traits.c.key == _MEMBER, traits.c.text.in_(texts))
    for release, text in connection.execute(bundled):
        model, _, number = text.partition(":")
        pairs.append((release, Name(model, int(number))))
    for release, parent in pairs:
        if parent in wanted and Name(*connection.execute(child.where(releases.c.id == release)).one()) not in going:
            held.add(parent)
    return held


def _having(connection: Connection, manifests: Collection[Digest]) -> Iterator[Name]:
    releases, models, variants = schema.releases, schema.models, schema.variants
    query = (
        select(models.c.name, releases.c.number)
        .join(releases, releases.c.model_id == models.c.id)
        .join(variants, variants.c.release_id == releases.c.id)
    )
    for batch in batches(sorted(manifests)):
        for model, number in connection.execute(query.where(variants.c.manifest.in_(batch))):
            yield Name(model, number)


def _ids(connection: Connection, names: Sequence[Name]) -> dict[Name, int]:
    """Row ids of those releases that are here."""
    releases, models = schema.releases, schema.models
    wanted: defaultdict[str, list[int]] = defaultdict(list)
    for name in names:
        wanted[name.model].append(name.number)
    some = [and_(models.c.name == model, releases.c.number.in_(numbers)) for model, numbers in wanted.items()]
    found: dict[Name, int] = {}
    query = select(models.c.name, releases.c.number, releases.c.id).join(models, models.c.id == releases.c.model_id)
    statement = union(*(query.where(condition) for condition in some))
    for model, number, release in connection.execute(statement):
        found[Name(model, number)] = release
    return found


def _delete(connection: Connection, ids: Sequence[int]) -> None:
    """Releases with all that belongs to them, and manifests that nothing has then."""
    variants, manifests, releases = schema.variants, schema.manifests, schema.releases
    had = set(connection.scalars(select(variants.c.manifest).where(variants.c.release_id.in_(ids))))
    belonging = (schema.signatures, schema.traits, schema.indexed, schema.parents, schema.derived, schema.offers)
    for table in (*belonging, variants):
        connection.execute(delete(table).where(table.c.release_id.in_(ids)))
    connection.execute(delete(releases).where(releases.c.id.in_(ids)))
    for batch in batches(sorted(had)):
        unused = ~exists().where(variants.c.manifest == manifests.c.digest)
        connection.execute(delete(manifests).where(manifests.c.digest.in_(batch), unused))


def _note(connection: Connection, gone: Mapping[Name, str], by: By) -> None:
    """Nodes need not be told: nothing that they follow is touched."""
    everybody = columns(Whom())
    rows = [
        {"kind": REMOVE, **everybody, "ref": f"{name.model}:{name.number}", "what": why, **by.columns}
        for name, why in gone.items()
    ]
    if rows:
        connection.execute(insert(schema.decisions), rows)
