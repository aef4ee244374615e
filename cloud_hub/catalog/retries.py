"""The only place where it is counted how often nodes were told to try again what a channel names.

A node tries again when the count that it hears is larger than the one that it heard before. So it is at least the
seconds since 1970 at which it grew: a catalogue that was restored from a backup, or a node that was let in anew, never
goes back to counts that were heard already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, and_, insert, select, update

from cloud_hub.catalog import schema
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.decisions import By, DecisionRow, decide
from cloud_hub.catalog.whom import Whom, all_labels, check_there, reached, whom
from modelsyncd.errors import NotFoundError
from modelsyncd.names import ModelName, ModelRef, parse_model

Lane = tuple[ModelName, str]
"""A model and its channel."""


class Retries:
    """Counts by node and channel. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def retry(self, model: ModelName, channel: str, wanted: Whom, by: By) -> Sequence[str]:
        """Has those of the nodes that follow the channel try again; their names.

        Raises NotFoundError for a node that is not there, and when none of them follows the channel.
        """
        ref = ModelRef(model, channel=channel)
        with self._database.write() as connection:
            check_there(connection, wanted)
            following = set(_following(connection, model, channel))
            nodes = [node for node in reached(wanted, all_labels(connection)) if node in following]
            if not nodes:
                raise NotFoundError(
                    f"{wanted} does not follow {ref}" if wanted.node is not None else f"{wanted}: none follows {ref}",
                    safe="nothing was changed",
                    hint=f"who follows it: modelsyncctl status {model}",
                )
            for node in nodes:
                _grow(connection, node, model, channel, int(by.now))
            decide(connection, DecisionRow("retry", wanted, str(ref), "", by))
        return nodes


def counts(connection: Connection, node: str) -> Mapping[Lane, int]:
    """A node's counts."""
    return _counts(connection, schema.retries.c.node == node).get(node, {})


def every(connection: Connection) -> Mapping[str, Mapping[Lane, int]]:
    """All counts, by node."""
    return _counts(connection)


def _counts(connection: Connection, *conditions: ColumnElement[bool]) -> dict[str, dict[Lane, int]]:
    found: dict[str, dict[Lane, int]] = {}
    for row in connection.execute(select(schema.retries).where(*conditions)).mappings():
        found.setdefault(row["node"], {})[parse_model(row["model"]), row["channel"]] = row["count"]
    return found


def _following(connection: Connection, model: ModelName, channel: str) -> Sequence[str]:
    table = schema.assignments
    query = select(table).where(table.c.model == str(model), table.c.channel == channel)
    known = all_labels(connection)
    return [node for row in connection.execute(query).mappings() for node in reached(whom(row), known)]


def _grow(connection: Connection, node: str, model: ModelName, channel: str, least: int) -> None:
    table = schema.retries
    this = and_(table.c.node == node, table.c.model == str(model), table.c.channel == channel)
    before: int | None = connection.scalars(select(table.c.count).where(this)).one_or_none()
    if before is None:
        row = {"node": node, "model": str(model), "channel": channel, "count": least}
        connection.execute(insert(table).values(**row))
        return
    connection.execute(update(table).where(this).values(count=max(before + 1, least)))
