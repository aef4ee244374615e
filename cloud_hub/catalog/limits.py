"""The only place where limits are set and read: what nodes may use of their links and disks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, insert, select

from cloud_hub.catalog import schema
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.decisions import By, DecisionRow, decide
from cloud_hub.catalog.terms import LimitRow, Terms
from cloud_hub.catalog.whom import Whom, all_labels, check_there, columns, is_for, may_reach, node_labels, reached, whom
from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelName, parse_model
from modelsyncd.schedule import parse_opening


class Limits:
    """Limits; what they are for need not be there yet, but a node must. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, wanted: LimitRow, by: By, *, replace: bool = False) -> tuple[LimitRow, bool]:
        """Sets what `wanted` sets; what it does not set stays, or (`replace`) goes. And whether anything changed.

        Raises NotFoundError for a node that is not there, BadInputError for a quota of one model.
        """
        if wanted.model is not None and wanted.terms.quota is not None:
            raise BadInputError(
                "a quota is for all that a node holds, not for one model",
                hint="leave the model out; `modelsyncctl pin` keeps a release on the node",
            )
        with self._database.write() as connection:
            check_there(connection, wanted.whom)
            before = _get(connection, wanted)
            terms = (Terms() if replace or before is None else before.terms).changed_by(wanted.terms)
            if before is not None and before.terms == terms:
                return before, False
            after = LimitRow(wanted.whom, terms, wanted.model, wanted.channel, by.who, by.now, by.note)
            if before is None and terms.is_empty:
                return after, False
            connection.execute(delete(schema.limits).where(_this(wanted)))
            if not terms.is_empty:
                connection.execute(insert(schema.limits).values(**_values(after)))
            decide(connection, DecisionRow("limit", after.whom, after.ref, str(terms) or "none", by))
        return after, True

    def list(self, node: str | None = None) -> Sequence[LimitRow]:
        """All limits, or those that reach a node, by model, channel and whom. Raises NotFoundError."""
        with self._database.read() as connection:
            if node is None:
                return _rows(connection)
            return reaching(connection, node, node_labels(connection, node))

    def nodes_of(self, several: Sequence[Whom]) -> Sequence[Sequence[str]]:
        """For each of these, the names of the nodes that it is for now."""
        with self._database.read() as connection:
            known = all_labels(connection)
        return [reached(each, known) for each in several]


def every(connection: Connection) -> Sequence[LimitRow]:
    """All limits."""
    return _rows(connection)


def reaching(connection: Connection, node: str, known: Mapping[str, str]) -> Sequence[LimitRow]:
    """Limits that reach a node with these labels."""
    rows = _rows(connection, may_reach(schema.limits, node))
    return [row for row in rows if row.whom.reaches(node, known)]


def _lane(row: LimitRow) -> dict[str, str]:
    return {"model": "" if row.model is None else str(row.model), "channel": row.channel}


def _this(row: LimitRow) -> ColumnElement[bool]:
    table = schema.limits
    return and_(is_for(table, row.whom), *(table.c[name] == value for name, value in _lane(row).items()))


def _get(connection: Connection, row: LimitRow) -> LimitRow | None:
    found = _rows(connection, _this(row))
    return found[0] if found else None


def _rows(connection: Connection, *conditions: ColumnElement[bool]) -> Sequence[LimitRow]:
    table = schema.limits
    query = select(table).where(*conditions)
    query = query.order_by(table.c.model, table.c.channel, table.c.node, table.c.selector)
    return [_row(row) for row in connection.execute(query).mappings()]


def _values(row: LimitRow) -> dict[str, object]:
    terms = row.terms
    return {
        **_lane(row),
        **columns(row.whom),
        "rate": terms.rate,
        "windows": None if terms.openings is None else json.dumps([str(opening) for opening in terms.openings]),
        "month_bytes": terms.month_bytes,
        "paused": _number(terms.paused),
        "background": _number(terms.background),
        "quota": terms.quota,
        **By(row.who, row.at, row.note).columns,
    }


def _row(row: RowMapping) -> LimitRow:
    words: str | None = row["windows"]
    terms = Terms(
        row["rate"],
        None if words is None else tuple(map(parse_opening, json.loads(words))),
        row["month_bytes"],
        _yes(row["paused"]),
        _yes(row["background"]),
        row["quota"],
    )
    model: ModelName | None = parse_model(row["model"]) if row["model"] else None
    return LimitRow(whom(row), terms, model, row["channel"], row["who"], row["at"], row["note"])


def _number(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _yes(value: int | None) -> bool | None:
    return None if value is None else bool(value)
