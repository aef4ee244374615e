"""The only place where models, their releases and their channels are asked for and changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select, update

from cloud_hub.catalog import members, moves, numbers, offers, releases, schema, traits
from cloud_hub.catalog.database import Database, batches
from cloud_hub.catalog.rows import ChannelRow, HistoryPlace, HistoryRows, ModelRow, MoveRow, ReleaseRow
from modelsyncd.digest import Digest
from modelsyncd.errors import NotFoundError, NumberTakenError
from modelsyncd.names import ModelName, ModelRef, nearest, parse_model
from modelsyncd.release import Release, SignedRelease, Variant
from modelsyncd.session.events import Settled
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.wire.nouns import decode_release


class Models:
    """Models by name. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, prefix: str = "", limit: int = 1_000, after: str = "") -> Sequence[ModelRow]:
        """At most `limit` models that begin with `prefix`, by name, the first one after the name `after`."""
        table = schema.models
        query = select(table.c.id, table.c.name).where(table.c.name > after).order_by(table.c.name).limit(limit)
        if prefix:
            # No LIKE: SQLite's ignores case and reads "_" as any character.
            query = query.where(table.c.name >= prefix, table.c.name < prefix + "\U0010ffff")
        with self._database.read() as connection:
            names = {model: parse_model(name) for model, name in connection.execute(query)}
            newest = releases.newest_ids(connection, names)
            loaded = releases.load(connection, (release for release, _ in newest.values()))
            channels = _channels(connection, list(names))
        return [
            ModelRow(name, loaded[newest[model][0]], newest[model][1], tuple(channels[model]))
            for model, name in names.items()
        ]

    def release(self, ref: ModelRef) -> ReleaseRow:
        """The release that the reference names; the newest when it is a model alone.

        Raises NotFoundError whose hint says which name or number comes nearest.
        """
        with self._database.read() as connection:
            model_id = _model_id(connection, ref.model)
            release_id = _release_id(connection, model_id, ref)
            return releases.load(connection, [release_id])[release_id]

    def by_manifest(self, model: ModelName, manifest: Digest) -> ReleaseRow | None:
        """The newest release of the model that has a variant with this manifest."""
        with self._database.read() as connection:
            found = releases.with_manifest(connection, model, manifest)[:1]
            return next(iter(releases.load(connection, found).values()), None)

    def recent(self, model: ModelName, limit: int) -> Sequence[ReleaseRow]:
        """At most `limit` releases of the model: those that a channel names now, then others, the newest first each.

        None for a model that is not there.
        """
        rows, channels = schema.releases, schema.channels
        named = select(channels.c.release_id).where(channels.c.release_id == rows.c.id).exists()
        query = (
            select(rows.c.id)
            .join(schema.models, schema.models.c.id == rows.c.model_id)
            .where(schema.models.c.name == str(model))
            .order_by(named.desc(), rows.c.number.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            ids = connection.scalars(query).all()
            loaded = releases.load(connection, ids)
        return [loaded[each] for each in ids]

    def published_by(self, who: str, model: ModelName, limit: int) -> Sequence[ReleaseRow]:
        """At most `limit` releases of the model that this peer ("node/NAME") published, the newest first."""
        rows, models = schema.releases, schema.models
        query = (
            select(rows.c.id)
            .join(models, models.c.id == rows.c.model_id)
            .where(models.c.name == str(model), rows.c.who == who)
            .order_by(rows.c.number.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            ids = connection.scalars(query).all()
            loaded = releases.load(connection, ids)
        return [loaded[each] for each in ids]

    def brought_by(self, who: str, among: Sequence[Digest]) -> frozenset[Digest]:
        """Those of some manifests whose releases this peer ("node/NAME") published."""
        rows, variants = schema.releases, schema.variants
        query = select(variants.c.manifest).join(rows, rows.c.id == variants.c.release_id).where(rows.c.who == who)
        with self._database.read() as connection:
            return frozenset(
                Digest(manifest)
                for batch in batches(among)
                for manifest in connection.scalars(query.where(variants.c.manifest.in_(batch)))
            )

    def next_number(self, model: ModelName) -> int:
        """The number that the model's next release must have; 1 for a model that is not there yet."""
        with self._database.read() as connection:
            return _next_number(connection, model)

    def check_members(self, release: Release) -> None:
        """Raises BadInputError for a bundle of something that is not there as it says."""
        with self._database.read() as connection:
            members.check(connection, release)

    def commit(
        self,
        signed: SignedRelease,
        release: Release,
        release_digest: Digest,
        *,
        channel: str | None,
        who: str,
        now: float,
        offer: bytes = b"",
    ) -> Settled:
        """Makes the release part of its model and moves the channel to it, or does neither.

        `offer` is the id of what this carries out, if it has one: the second time, nothing is changed.

        `release` is what `signed.release` says, parsed and checked. When the model has a release with the same
        variants, that one is the answer, and the channel is moved to it. Raises NumberTakenError when the release's
        number is not the next one, BadInputError for a bundle whose members are not there. The caller has made every
        chunk durable before. What the release says itself, it is found by at once.
        """
        model = release.model
        with self._database.write() as connection:
            done = offers.release_of(connection, who, offer, model) if offer else None
            if done is not None:
                row = releases.load(connection, [done])[done]
                return Settled(row.number, False, row.digest)
            there = _same_content(connection, release)
            release_id = there or _create(connection, signed, release, release_digest, who=who, now=now)
            if there is None:
                members.check(connection, release)
                traits.enter(connection, release_id, release)
                numbers.publish(connection, release, who, now)
            row = releases.load(connection, [release_id])[release_id]
            passing(Point.RELEASE_ENTERED)
            if channel is not None:
                lane = moves.Lane(_model_id(connection, model), model, channel)
                moves.lay(connection, lane, row.number, moves.Reason(moves.PUSH, who, "", now))
            if offer:
                offers.remember(connection, who, offer, release_id, now)
        return Settled(row.number, there is None, row.digest)

    def history(self, model: ModelName, *, limit: int | None = None, below: HistoryPlace | None = None) -> HistoryRows:
        """The model's releases and the moves of its channels, newest first. Raises NotFoundError.

        At most `limit` of each, those `below` a place.
        """
        with self._database.read() as connection:
            model_id = _model_id(connection, model)
            table = schema.releases
            query = select(table.c.id).where(table.c.model_id == model_id).order_by(table.c.number.desc()).limit(limit)
            if below is not None:
                query = query.where(table.c.number < below.number)
            ids = connection.scalars(query).all()
            loaded = releases.load(connection, ids)
            past = moves.history(connection, model_id, model, limit=limit, below=below.move if below else None)
        return HistoryRows(tuple(loaded[each] for each in ids), tuple(past.values()), tuple(past))

    def channels(self, model: ModelName) -> Sequence[ChannelRow]:
        """The model's channels by name. Raises NotFoundError."""
        with self._database.read() as connection:
            model_id = _model_id(connection, model)
            return _channels(connection, [model_id])[model_id]

    def promote(self, ref: ModelRef, channel: str, who: str, note: str, now: float) -> MoveRow:
        """Moves the channel to the release that the reference names; no move is recorded when it is there already.

        Raises NotFoundError.
        """
        with self._database.write() as connection:
            lane = moves.Lane(_model_id(connection, ref.model), ref.model, channel)
            release_id = _release_id(connection, lane.model_id, ref)
            number = releases.load(connection, [release_id])[release_id].number
            return moves.lay(connection, lane, number, moves.Reason(moves.PROMOTE, who, note, now))

    def rollback(self, model: ModelName, channel: str, who: str, note: str, now: float) -> MoveRow:
        """Moves the channel to the release that it named before; again, to the one before that (see `moves.py`).

        Raises NotFoundError, or ConflictError when it has named one release only.
        """
        with self._database.write() as connection:
            lane = moves.Lane(_model_id(connection, model), model, channel)
            return moves.back(connection, lane, moves.Reason(moves.ROLLBACK, who, note, now))


def _model_id(connection: Connection, model: ModelName) -> int:
    query = select(schema.models.c.id).where(schema.models.c.name == str(model))
    found: int | None = connection.scalars(query).one_or_none()
    if found is None:
        names = connection.scalars(select(schema.models.c.name)).all()
        raise NotFoundError(f"there is no model {model}", nearest=nearest(str(model), names))
    return found


def _release_id(connection: Connection, model_id: int, ref: ModelRef) -> int:
    if ref.channel is not None:
        return _release_of_channel(connection, model_id, ref.model, ref.channel)
    newest_id, _ = releases.newest_ids(connection, [model_id])[model_id]
    if ref.number is None:
        return newest_id
    table = schema.releases
    query = select(table.c.id).where(table.c.model_id == model_id, table.c.number == ref.number)
    found: int | None = connection.scalars(query).one_or_none()
    if found is None:
        raise _no_number(connection, model_id, ref.model, ref.number)
    return found


def _release_of_channel(connection: Connection, model_id: int, model: ModelName, channel: str) -> int:
    table = schema.channels
    query = select(table.c.name, table.c.release_id).where(table.c.model_id == model_id)
    names: dict[str, int] = {row.name: row.release_id for row in connection.execute(query)}
    if channel in names:
        return names[channel]
    hint = "" if names else f"it has none yet: modelsyncctl promote {model}:NUMBER {channel}"
    close = [f"{model}@{name}" for name in nearest(channel, names) or sorted(names)[:3]]
    raise NotFoundError(f"{model} has no channel {channel!r}", hint=hint, nearest=close)


def _no_number(connection: Connection, model_id: int, model: ModelName, number: int) -> NotFoundError:
    table = schema.releases
    distance = func.abs(table.c.number - number)
    query = select(table.c.number).where(table.c.model_id == model_id).order_by(distance, table.c.number).limit(1)
    close = connection.scalars(query).one()
    span = select(func.min(table.c.number), func.max(table.c.number)).where(table.c.model_id == model_id)
    first, last = connection.execute(span).one()
    return NotFoundError(
        f"{model} has no release {number}", hint=f"its releases are {first} to {last}; the nearest is {model}:{close}"
    )


def _next_number(connection: Connection, model: ModelName) -> int:
    query = select(schema.models.c.last_number).where(schema.models.c.name == str(model))
    last: int = connection.scalars(query).one_or_none() or 0
    return last + 1


def _same_content(connection: Connection, release: Release) -> int | None:
    """Row id of the newest release of the model that has exactly these variants, in whatever order.

    A release that says how a variant was derived is another one than those that do not say so.
    """
    if not release.variants:
        return None
    wanted = {_form(variant) for variant in release.variants}
    candidates = releases.with_manifest(connection, release.model, release.variants[0].manifest.digest)
    loaded = releases.load(connection, candidates)
    for candidate in candidates:
        if {_form(variant) for variant in loaded[candidate].variants} == wanted and _says_as_much(
            release, loaded[candidate]
        ):
            return candidate
    return None


def _form(variant: Variant) -> tuple[str, Digest, frozenset[tuple[str, str]]]:
    return variant.name, variant.manifest.digest, frozenset(variant.selector.items())


def _says_as_much(release: Release, there: ReleaseRow) -> bool:
    """Whether the release that is there tells of each derivation that the new one tells of."""
    if all(variant.derivation is None for variant in release.variants):
        return True
    known = {variant.name: variant.derivation for variant in decode_release(there.signed.release).variants}
    return all(variant.derivation in (None, known.get(variant.name)) for variant in release.variants)


def _create(
    connection: Connection, signed: SignedRelease, release: Release, digest: Digest, *, who: str, now: float
) -> int:
    expected = _next_number(connection, release.model)
    if release.number != expected:
        raise NumberTakenError(
            f"{release.model}:{release.number} can't be committed: the next free number is {expected}",
            safe="nothing was changed, and no chunk has to travel again",
            hint=f"publish it again: it will become {release.model}:{expected}",
            next_number=expected,
        )
    table = schema.models
    if expected == 1:
        connection.execute(insert(table).values(name=str(release.model), last_number=1, created_at=now))
    model_id = _model_id(connection, release.model)
    connection.execute(update(table).where(table.c.id == model_id).values(last_number=expected))
    return releases.write(connection, model_id, signed, release, digest, who=who, now=now)


def _channels(connection: Connection, model_ids: Sequence[int]) -> defaultdict[int, list[ChannelRow]]:
    table = schema.channels
    found: defaultdict[int, list[ChannelRow]] = defaultdict(list)
    for batch in batches(model_ids):
        query = (
            select(table, schema.releases.c.number)
            .join(schema.releases, schema.releases.c.id == table.c.release_id)
            .where(table.c.model_id.in_(batch))
            .order_by(table.c.name)
        )
        for row in connection.execute(query):
            found[row.model_id].append(ChannelRow(row.name, row.number, row.moved_at))
    return found
