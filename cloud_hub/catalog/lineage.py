"""The only place where it is kept and walked which releases came from which."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert

from cloud_hub.catalog import schema
from modelsyncd.release import Release


def write(connection: Connection, release_id: int, release: Release) -> None:
    """Makes the release findable from its parents; what was written of it before is forgotten."""
    table = schema.parents
    connection.execute(delete(table).where(table.c.release_id == release_id))
    rows = [
        {
            "release_id": release_id,
            "position": position,
            "model": str(parent.model),
            "number": parent.number,
            "release_digest": bytes(parent.release_digest),
            "role": parent.role,
        }
        for position, parent in enumerate(release.parents)
    ]
    if rows:
        connection.execute(insert(table), rows)
