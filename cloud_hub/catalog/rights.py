"""The only place where it is kept what nodes may publish; without a row they may publish nothing.

What a pattern covers is judged elsewhere (`cloud_hub/patterns.py`): here they are words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, insert, select

from cloud_hub.catalog import schema
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.decisions import By, DecisionRow, decide
from cloud_hub.catalog.whom import (
    Reaching,
    Whom,
    all_labels,
    check_there,
    columns,
    is_for,
    may_reach,
    node_labels,
    whom,
)
from modelsyncd.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class RightRow:
    """Some nodes may publish releases of the models that a pattern covers, and move the channels that others cover."""

    whom: Whom
    models: str
    channels: tuple[str, ...]
    by: By


class Rights:
    """Rights to publish. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def allow(self, wanted: Whom, models: str, channels: Sequence[str], by: By) -> tuple[RightRow, bool]:
        """Lets nodes publish; the right, and whether anything changed: the channels replace those of before.

        Raises NotFoundError for a node that is not there.
        """
        row = RightRow(wanted, models, tuple(sorted(set(channels))), by)
        with self._database.write() as connection:
            check_there(connection, wanted)
            there = _rights(connection, _this(wanted, models))
            if there and there[0].channels == row.channels:
                return there[0], False
            connection.execute(delete(schema.rights).where(_this(wanted, models)))
            values = {"models": models, "channels": json.dumps(row.channels), **columns(wanted), **by.columns}
            connection.execute(insert(schema.rights).values(**values))
            decide(connection, DecisionRow("allow", wanted, models, _channels_shown(row.channels), by))
        return row, True

    def disallow(self, wanted: Whom, models: str, by: By) -> RightRow:
        """Takes a right back; as it was. Raises NotFoundError."""
        with self._database.write() as connection:
            there = _rights(connection, _this(wanted, models))
            if not there:
                raise _no_right(connection, wanted, models)
            connection.execute(delete(schema.rights).where(_this(wanted, models)))
            decide(connection, DecisionRow("disallow", wanted, models, "", by))
        return there[0]

    def list(self, node: str | None = None) -> Sequence[RightRow]:
        """All rights, or those that reach a node, by whom and models. Raises NotFoundError."""
        with self._database.read() as connection:
            if node is None:
                return _rights(connection)
            known = node_labels(connection, node)
            rows = _rights(connection, may_reach(schema.rights, node))
        return [row for row in rows if row.whom.reaches(node, known)]

    def by_node(self) -> dict[str, Sequence[RightRow]]:
        """The same for every node, by name; much faster than one after the other."""
        with self._database.read() as connection:
            reaching = Reaching((row.whom, row) for row in _rights(connection))
            return {node: reaching.node(node, known) for node, known in all_labels(connection).items()}


def _this(wanted: Whom, models: str) -> ColumnElement[bool]:
    table = schema.rights
    return and_(table.c.models == models, is_for(table, wanted))


def _rights(connection: Connection, *conditions: ColumnElement[bool]) -> Sequence[RightRow]:
    table = schema.rights
    query = select(table).where(*conditions).order_by(table.c.node, table.c.selector, table.c.models)
    return [_row(row) for row in connection.execute(query).mappings()]


def _row(row: RowMapping) -> RightRow:
    channels = tuple(json.loads(row["channels"]))
    return RightRow(whom(row), row["models"], channels, By(row["who"], row["at"], row["note"]))


def _channels_shown(channels: Sequence[str]) -> str:
    return f"channels={','.join(channels)}" if channels else ""


def _no_right(connection: Connection, wanted: Whom, models: str) -> NotFoundError:
    same = _rights(connection, is_for(schema.rights, wanted))
    there = ", ".join(row.models for row in same[:3])
    return NotFoundError(
        f"{wanted} may not publish {models} anyway",
        safe="nothing was changed",
        hint=f"allowed is {there}" if there else "see what is: modelsyncctl allow",
    )
