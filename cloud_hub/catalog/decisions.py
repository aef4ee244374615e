"""The only place that keeps who decided what about nodes, when, and why: rows are added and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, insert, select

from cloud_hub.catalog import schema
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.migrations import bump
from cloud_hub.catalog.whom import Whom, columns, may_reach, node_labels, whom

MOST = 1_000  # decisions of one answer


@dataclass(frozen=True, slots=True)
class By:
    """Who decides, when (seconds since 1970 UTC), and why if that is said."""

    who: str
    now: float
    note: str = ""

    @property
    def columns(self) -> dict[str, str | float]:
        """As the columns of what was decided."""
        return {"who": self.who, "at": self.now, "note": self.note}


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """A decision: "limit", "pin", "unpin", "consent", "withdraw", "retry", "allow" or "disallow".

    `ref` is empty for all that is fetched, and a pattern of models for a right.
    """

    kind: str
    whom: Whom
    ref: str
    what: str
    by: By


class Decisions:
    """What was decided, for people to read. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, node: str | None = None, most: int = MOST) -> Sequence[DecisionRow]:
        """The newest first, all or those that reach a node by its labels of now. Raises NotFoundError."""
        table = schema.decisions
        query = select(table).order_by(table.c.id.desc())
        found: list[DecisionRow] = []
        with self._database.read() as connection:
            known = node_labels(connection, node) if node is not None else {}
            if node is not None:
                query = query.where(may_reach(table, node))
            for row in map(_row, connection.execute(query).mappings()):
                if node is None or row.whom.reaches(node, known):
                    found.append(row)
                if len(found) >= most:
                    break
        return found


def decide(connection: Connection, row: DecisionRow) -> None:
    """Notes what is changed in this transaction, and that nodes are to be told."""
    values = {"kind": row.kind, **columns(row.whom), "ref": row.ref, "what": row.what, **row.by.columns}
    connection.execute(insert(schema.decisions).values(**values))
    bump(connection)


def _row(row: RowMapping) -> DecisionRow:
    return DecisionRow(row["kind"], whom(row), row["ref"], row["what"], By(row["who"], row["at"], row["note"]))
