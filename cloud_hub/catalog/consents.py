"""The only place where it is kept for which releases a node's bytes of the month may be exceeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select

from cloud_hub.catalog import schema
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.decisions import By, DecisionRow, decide
from cloud_hub.catalog.whom import Whom, node_labels
from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelRef, parse_model


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """Somebody let the manifest of a release exceed a node's bytes of the month."""

    node: str
    ref: ModelRef
    manifest: Digest
    by: By


class Consents:
    """Consents. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def give(self, node: str, ref: ModelRef, manifest: Digest, by: By) -> tuple[ConsentRow, bool]:
        """Lets a release, by its manifest, exceed a node's month; and whether that is new. Raises NotFoundError."""
        if ref.number is None:
            raise BadInputError(f"{ref} does not say which release")
        row = ConsentRow(node, ref, manifest, by)
        with self._database.write() as connection:
            node_labels(connection, node)  # raises when it is not there
            there = _consents(connection, _consent(row))
            if there:
                return there[0], False
            key = {"node": node, "model": str(ref.model), "manifest": bytes(manifest)}
            connection.execute(insert(schema.consents).values(**key, number=ref.number, **by.columns))
            decide(connection, DecisionRow("consent", Whom(node), str(ref), "", by))
        return row, True

    def withdraw(self, node: str, ref: ModelRef, manifest: Digest, by: By) -> ConsentRow | None:
        """Takes it back; as it was, or None when there was none. Raises NotFoundError."""
        row = ConsentRow(node, ref, manifest, by)
        with self._database.write() as connection:
            node_labels(connection, node)
            there = _consents(connection, _consent(row))
            if not there:
                return None
            connection.execute(delete(schema.consents).where(_consent(row)))
            decide(connection, DecisionRow("withdraw", Whom(node), str(ref), "", by))
        return there[0]

    def list(self, node: str | None = None) -> Sequence[ConsentRow]:
        """All of them, or a node's."""
        with self._database.read() as connection:
            return _consents(connection) if node is None else consents_for(connection, node)


def every(connection: Connection) -> Sequence[ConsentRow]:
    """All consents."""
    return _consents(connection)


def consents_for(connection: Connection, node: str) -> Sequence[ConsentRow]:
    """A node's consents."""
    return _consents(connection, schema.consents.c.node == node)


def _consent(row: ConsentRow) -> ColumnElement[bool]:
    table = schema.consents
    same = table.c.model == str(row.ref.model), table.c.manifest == bytes(row.manifest)
    return and_(table.c.node == row.node, *same)


def _consents(connection: Connection, *conditions: ColumnElement[bool]) -> Sequence[ConsentRow]:
    table = schema.consents
    query = select(table).where(*conditions).order_by(table.c.node, table.c.model, table.c.number, table.c.manifest)
    return [
        ConsentRow(
            row["node"],
            ModelRef(parse_model(row["model"]), number=row["number"]),
            Digest(row["manifest"]),
            By(row["who"], row["at"], row["note"]),
        )
        for row in connection.execute(query).mappings()
    ]
