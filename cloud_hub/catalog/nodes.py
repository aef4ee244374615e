"""The only place where nodes are invited, let in, described and shut out.

An invite is for one name and lets one key in. The same key may use it again (the node may have crashed between the
hub's yes and its own disk); nobody else may, and nobody at all once the node was removed or a newer invite was made.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from cloud_hub.catalog import facts, labels, schema
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.migrations import bump
from cloud_hub.catalog.rows import NodeRow
from modelsyncd.errors import ConflictError, InviteError, NotFoundError
from modelsyncd.names import nearest
from modelsyncd.session.frames import Facts
from modelsyncd.store.failpoints import Point, passing

_REPLACED = "a newer invite was made"
_REMOVED = "the node was removed"
_NAMING = (schema.assignments, schema.limits, schema.pins, schema.consents, schema.rights, schema.retries)


class Nodes:
    """Nodes by name. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def invite(self, name: str, given: Mapping[str, str], expires_at: float, now: float) -> str:
        """Makes an invite for one node of this name, which gets these labels; the invite's id.

        An older invite for the name that was not used stops working. Raises ConflictError when the node is enrolled.
        """
        table = schema.nodes
        with self._database.write() as connection:
            key = connection.execute(select(table.c.key).where(table.c.name == name)).one_or_none()
            if key is not None and key[0] is not None:
                raise ConflictError(
                    f"node {name} is enrolled already",
                    safe="the node was not changed",
                    hint=f"modelsyncctl node remove {name}, then modelsyncctl node invite {name}",
                )
            values = {"labels": labels.write(given)}
            if key is None:
                connection.execute(insert(table).values(name=name, **values))
            else:
                connection.execute(update(table).where(table.c.name == name).values(**values))
            _void(connection, name, _REPLACED)
            invite = secrets.token_hex(16)
            connection.execute(
                insert(schema.invites).values(id=invite, name=name, created_at=now, expires_at=expires_at)
            )
            bump(connection)
        return invite

    def redeem(self, invite: str, name: str, key: bytes, now: float) -> None:
        """Lets the holder of a public key in under this name. Raises InviteError saying why not."""
        table = schema.invites
        with self._database.write() as connection:
            row = connection.execute(select(table).where(table.c.id == invite)).one_or_none()
            again = f"ask for a new one: modelsyncctl node invite {name}"
            if row is None:
                raise InviteError("the hub does not know this invite", hint=again)
            if row.name != name:
                raise InviteError(
                    f"the invite is for {row.name}, not for {name}",
                    hint=f"enrol as {row.name}, or {again}",
                )
            if row.void:
                raise InviteError(f"the invite no longer counts: {row.void}", hint=again)
            if row.key is not None:
                if row.key == key:
                    return
                raise InviteError("the invite was used already, with another key", hint=again)
            if row.expires_at <= now:
                raise InviteError("the invite has expired", hint=again)
            connection.execute(update(table).where(table.c.id == invite).values(key=key, used_at=now))
            nodes = schema.nodes
            connection.execute(update(nodes).where(nodes.c.name == name).values(key=key, enrolled_at=now))
            bump(connection)

    def list(self, selector: Mapping[str, str] | None = None) -> Sequence[NodeRow]:
        """Nodes by name, invited ones too; only those with all labels of the selector."""
        with self._database.read() as connection:
            rows = connection.execute(select(schema.nodes).order_by(schema.nodes.c.name)).mappings().all()
        return [node for node in map(_node, rows) if labels.fits(selector or {}, node.labels)]

    def get(self, name: str) -> NodeRow:
        """One node. Raises NotFoundError."""
        with self._database.read() as connection:
            return _get(connection, name)

    def label(self, name: str, given: Mapping[str, str]) -> NodeRow:
        """Replaces the node's labels. Raises NotFoundError."""
        with self._database.write() as connection:
            before = _get(connection, name)
            if before.labels != given:
                table = schema.nodes
                connection.execute(update(table).where(table.c.name == name).values(labels=labels.write(given)))
                bump(connection)
            return _get(connection, name)

    def remove(self, name: str) -> NodeRow:
        """Forgets the node, its key, its invites, and assignments, limits, rights and the like that name it; as it was.

        Its name may be invited again, and then begins with nothing. Raises NotFoundError.
        """
        with self._database.write() as connection:
            node = _get(connection, name)
            connection.execute(delete(schema.nodes).where(schema.nodes.c.name == name))
            for table in _NAMING:
                connection.execute(delete(table).where(table.c.node == name))
            used = schema.invites.c.name == name
            connection.execute(update(schema.invites).where(used).values(void=_REMOVED))
            bump(connection)
        return node

    def seen(self, name: str, software: str, said: Facts, now: float) -> bool:
        """Notes that the node was heard from, what it runs, and what it says of itself; whether that is news.

        Does nothing for a node that was removed.
        """
        table = schema.nodes
        with self._database.write() as connection:
            connection.execute(update(table).where(table.c.name == name).values(last_seen=now, software=software))
            return _learn(connection, name, said)

    def learn(self, name: str, said: Facts) -> bool:
        """Keeps what the node says of itself; whether that is news. Does nothing for a node that was removed."""
        with self._database.write() as connection:
            return _learn(connection, name, said)

    def report(self, name: str, report: bytes, now: float) -> None:
        """Keeps the node's newest report. Does nothing for a node that was removed."""
        values = {"report": report, "reported_at": now, "last_seen": now}
        table = schema.nodes
        with self._database.write() as connection:
            connection.execute(update(table).where(table.c.name == name).values(**values))
        passing(Point.REPORT_KEPT)

    def known_key(self, name: str) -> bytes | None:
        """The public key that the node enrolled with; None for a node that is not enrolled, or was removed."""
        query = select(schema.nodes.c.key).where(schema.nodes.c.name == name)
        with self._database.read() as connection:
            return connection.scalars(query).one_or_none()


def _learn(connection: Connection, name: str, said: Facts) -> bool:
    table, text = schema.nodes, facts.write(said)
    if connection.scalars(select(table.c.facts).where(table.c.name == name)).one_or_none() in (text, None):
        return False
    connection.execute(update(table).where(table.c.name == name).values(facts=text))
    bump(connection)
    return True


def _void(connection: Connection, name: str, why: str) -> None:
    table = schema.invites
    unused = (table.c.name == name, table.c.void == "", table.c.key.is_(None))
    connection.execute(update(table).where(*unused).values(void=why))


def _get(connection: Connection, name: str) -> NodeRow:
    table = schema.nodes
    row = connection.execute(select(table).where(table.c.name == name)).mappings().one_or_none()
    if row is not None:
        return _node(row)
    close = nearest(name, connection.scalars(select(table.c.name)).all())
    hint = "" if close else f"to let it in: modelsyncctl node invite {name}"
    raise NotFoundError(f"there is no node {name}", hint=hint, nearest=close)


def _node(row: RowMapping) -> NodeRow:
    return NodeRow(
        row["name"],
        labels.read(row["labels"]),
        row["enrolled_at"],
        row["last_seen"],
        row["software"],
        row["report"],
        row["reported_at"],
        facts.read(row["facts"]),
    )
