"""The only place where it is kept what people want kept: rules over models whose names a pattern covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from cloud_hub.catalog import schema
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.decisions import By
from modelsyncd.errors import NotFoundError
from modelsyncd.names import nearest


@dataclass(frozen=True, slots=True)
class RetentionRow:
    """What is kept of the models that a pattern covers: the `newest` releases, and those younger than `seconds`.

    With neither, everything is.
    """

    models: str
    newest: int | None
    seconds: float | None
    by: By


class Retentions:
    """Rules of what is kept. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, row: RetentionRow) -> None:
        """Keeps a rule, in the place of the one for the same pattern."""
        table = schema.retentions
        values = {"models": row.models, "newest": row.newest, "seconds": row.seconds, **row.by.columns}
        with self._database.write() as connection:
            connection.execute(delete(table).where(table.c.models == row.models))
            connection.execute(insert(table).values(**values))

    def remove(self, models: str) -> RetentionRow:
        """Ends a rule; as it was. Raises NotFoundError."""
        table = schema.retentions
        for row in self.list():
            if row.models == models:
                with self._database.write() as connection:
                    connection.execute(delete(table).where(table.c.models == models))
                return row
        raise NotFoundError(
            f"there is no rule of what is kept of {models}",
            safe="nothing was changed",
            nearest=nearest(models, [row.models for row in self.list()]),
        )

    def list(self) -> Sequence[RetentionRow]:
        """All rules by pattern."""
        table = schema.retentions
        with self._database.read() as connection:
            return [
                RetentionRow(row.models, row.newest, row.seconds, By(row.who, row.at, row.note))
                for row in connection.execute(select(table).order_by(table.c.models))
            ]
