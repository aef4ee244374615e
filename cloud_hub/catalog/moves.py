"""The only place where a channel is moved, and where its past is kept as a stack.

Each move that is not a rollback lays a release on the channel's stack; a rollback takes the top one off. So rolling
back twice goes two releases back and never to and fro, and a promotion after a rollback begins from there: after
1, 2, rollback, 3 the channel goes back from 3 to 1. Nothing of this needs the whole past: each move's `below` is the
move that it goes back to, and a rollback's is that of the move it restores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Row, insert, select

from cloud_hub.catalog import schema
from cloud_hub.catalog.migrations import bump
from cloud_hub.catalog.rows import MoveRow
from modelsyncd.errors import ConflictError, NotFoundError
from modelsyncd.names import ModelName, nearest

PUSH = "push"
PROMOTE = "promote"
ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Reason:
    """Who moves a channel, how, why and when."""

    kind: str
    who: str
    note: str
    now: float


@dataclass(frozen=True, slots=True)
class Lane:
    """A model's channel, with the model's row id."""

    model_id: int
    model: ModelName
    channel: str


def lay(connection: Connection, lane: Lane, number: int, reason: Reason) -> MoveRow:
    """Moves the channel to a release of its model; changes nothing when it names it already."""
    top = _top(connection, lane)
    if top is None:
        return _record(connection, lane, (0, number), None, reason)
    if top.to_number == number:
        return _row(lane, number, number, reason)
    return _record(connection, lane, (top.to_number, number), top.id, reason)


def back(connection: Connection, lane: Lane, reason: Reason) -> MoveRow:
    """Moves the channel to what it named before. Raises NotFoundError, or ConflictError when there was nothing."""
    top = _top(connection, lane)
    if top is None:
        query = select(schema.channels.c.name).where(schema.channels.c.model_id == lane.model_id)
        close = nearest(lane.channel, connection.scalars(query).all())
        raise NotFoundError(f"{lane.model} has no channel {lane.channel!r}", nearest=close)
    target = _move(connection, top.below)
    while target is not None and _release_id(connection, lane, target.to_number) is None:
        target = _move(connection, target.below)
    if target is None:
        raise ConflictError(
            f"{lane.model}@{lane.channel} names {top.to_number} and has no release to go back to",
            safe="the channel was not moved",
            hint=f"modelsyncctl promote {lane.model}:NUMBER {lane.channel}",
        )
    return _record(connection, lane, (top.to_number, target.to_number), target.below, reason)


def history(
    connection: Connection, model_id: int, model: ModelName, *, limit: int | None, below: int | None
) -> Mapping[int, MoveRow]:
    """Moves of the model's channels by their ids, newest first; at most `limit`, those with ids `below` one."""
    moves = schema.moves
    query = select(moves).where(moves.c.model_id == model_id).order_by(moves.c.id.desc()).limit(limit)
    if below is not None:
        query = query.where(moves.c.id < below)
    return {
        row.id: MoveRow(model, row.channel, row.from_number, row.to_number, row.who, row.at, row.kind, row.note)
        for row in connection.execute(query)
    }


_Move = Row[int, int, int | None]


def _top(connection: Connection, lane: Lane) -> _Move | None:
    moves, channels = schema.moves, schema.channels
    query = (
        select(moves.c.id, moves.c.to_number, moves.c.below)
        .join(channels, channels.c.top == moves.c.id)
        .where(channels.c.model_id == lane.model_id, channels.c.name == lane.channel)
    )
    return connection.execute(query).one_or_none()


def _move(connection: Connection, move: int | None) -> _Move | None:
    table = schema.moves
    query = select(table.c.id, table.c.to_number, table.c.below).where(table.c.id == move)
    return connection.execute(query).one_or_none()


def _release_id(connection: Connection, lane: Lane, number: int) -> int | None:
    table = schema.releases
    query = select(table.c.id).where(table.c.model_id == lane.model_id, table.c.number == number)
    return connection.scalars(query).one_or_none()


def _record(connection: Connection, lane: Lane, numbers: tuple[int, int], below: int | None, reason: Reason) -> MoveRow:
    from_number, to_number = numbers
    statement = insert(schema.moves).values(
        model_id=lane.model_id,
        channel=lane.channel,
        from_number=from_number,
        to_number=to_number,
        below=below,
        kind=reason.kind,
        who=reason.who,
        note=reason.note,
        at=reason.now,
    )
    top = connection.scalars(statement.returning(schema.moves.c.id)).one()
    state = {"release_id": _release_id(connection, lane, to_number), "top": top, "moved_at": reason.now}
    table = schema.channels
    if from_number == 0:
        connection.execute(insert(table).values(model_id=lane.model_id, name=lane.channel, **state))
    else:
        this = (table.c.model_id == lane.model_id, table.c.name == lane.channel)
        connection.execute(table.update().where(*this).values(**state))
    bump(connection)
    return _row(lane, from_number, to_number, reason)


def _row(lane: Lane, from_number: int, to_number: int, reason: Reason) -> MoveRow:
    return MoveRow(lane.model, lane.channel, from_number, to_number, reason.who, reason.now, reason.kind, reason.note)
