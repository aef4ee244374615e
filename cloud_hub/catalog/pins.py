"""The only place where it is said which releases stay on which nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, insert, select

from cloud_hub.catalog import schema
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.decisions import By, DecisionRow, decide
from cloud_hub.catalog.whom import Whom, check_there, columns, is_for, may_reach, node_labels, whom
from modelsyncd.errors import BadInputError, LimitError, NotFoundError
from modelsyncd.limits import LIMITS
from modelsyncd.names import ModelRef, parse_model


@dataclass(frozen=True, slots=True)
class PinRow:
    """A release (model and number) that stays on some nodes while it is there."""

    whom: Whom
    ref: ModelRef
    by: By


class Pins:
    """Pins. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pin(self, ref: ModelRef, wanted: Whom, by: By) -> tuple[PinRow, bool]:
        """Has a release stay on some nodes; the pin, and whether it is new.

        Raises NotFoundError for a node that is not there, BadInputError for no number, LimitError.
        """
        if ref.number is None:
            raise BadInputError(f"{ref} does not say which release", hint=f"pin one by its number, as in {ref.model}:1")
        table = schema.pins
        with self._database.write() as connection:
            check_there(connection, wanted)
            there = _pins(connection, _this(ref, wanted))
            if there:
                return there[0], False
            if len(_pins(connection)) >= LIMITS.pins:
                raise LimitError(f"there are {LIMITS.pins} pins already", hint="see them: modelsyncctl pin")
            values = {"model": str(ref.model), "number": ref.number, **columns(wanted), **by.columns}
            connection.execute(insert(table).values(**values))
            decide(connection, DecisionRow("pin", wanted, str(ref), "", by))
        return PinRow(wanted, ref, by), True

    def unpin(self, ref: ModelRef, wanted: Whom, by: By) -> PinRow:
        """Ends a pin; as it was. Raises NotFoundError."""
        with self._database.write() as connection:
            there = _pins(connection, _this(ref, wanted))
            if not there:
                raise _no_pin(connection, ref, wanted)
            connection.execute(delete(schema.pins).where(_this(ref, wanted)))
            decide(connection, DecisionRow("unpin", wanted, str(ref), "", by))
        return there[0]

    def list(self, node: str | None = None) -> Sequence[PinRow]:
        """All pins, or those that reach a node, by model, number and whom. Raises NotFoundError."""
        with self._database.read() as connection:
            if node is None:
                return _pins(connection)
            return pins_on(connection, node, node_labels(connection, node))


def every(connection: Connection) -> Sequence[PinRow]:
    """All pins."""
    return _pins(connection)


def pins_on(connection: Connection, node: str, known: Mapping[str, str]) -> Sequence[PinRow]:
    """Pins that reach a node with these labels."""
    rows = _pins(connection, may_reach(schema.pins, node))
    return [row for row in rows if row.whom.reaches(node, known)]


def _this(ref: ModelRef, wanted: Whom) -> ColumnElement[bool]:
    table = schema.pins
    return and_(table.c.model == str(ref.model), table.c.number == ref.number, is_for(table, wanted))


def _pins(connection: Connection, *conditions: ColumnElement[bool]) -> Sequence[PinRow]:
    table = schema.pins
    query = select(table).where(*conditions).order_by(table.c.model, table.c.number, table.c.node, table.c.selector)
    return [_row(row) for row in connection.execute(query).mappings()]


def _row(row: RowMapping) -> PinRow:
    ref = ModelRef(parse_model(row["model"]), number=row["number"])
    return PinRow(whom(row), ref, By(row["who"], row["at"], row["note"]))


def _no_pin(connection: Connection, ref: ModelRef, wanted: Whom) -> NotFoundError:
    same = _pins(connection, schema.pins.c.model == str(ref.model))
    there = ", ".join(f"{row.ref} on {row.whom}" for row in same[:3])
    return NotFoundError(
        f"{ref} is not pinned on {wanted}",
        safe="nothing was changed",
        hint=f"pinned: {there}" if there else f"nothing of {ref.model} is pinned",
    )
