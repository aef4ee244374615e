"""Catalogues as earlier hubs left them: a new one, without what came later."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from cloud_hub.catalog import Catalog
from cloud_hub.catalog.schema import SCHEMA_VERSION

NEW_SINCE = {
    2: ("codings", "coding_packs"),
    3: ("limits", "pins", "consents", "decisions"),
    4: ("rights", "retries", "numbers"),
    5: ("offers",),
    6: ("traits", "indexed", "parents", "derived", "rules", "retentions"),
}
"""Tables that each version has brought."""
UNDO = {
    6: (
        "ALTER TABLE nodes DROP COLUMN facts",
        "ALTER TABLE packs DROP COLUMN at",
        "DROP INDEX chunks_by_pack",
        "DROP INDEX numbers_by_release",
        "ALTER TABLE numbers DROP COLUMN variant",
        "CREATE INDEX numbers_by_release ON numbers (model, number, name, at)",
    ),
}
"""What each version has changed in the tables of before, the other way round."""


def as_of(version: int, file: Path) -> None:
    """Takes from a catalogue, made if need be, what came after `version`."""
    Catalog.open(f"sqlite:///{file}").close()
    with closing(sqlite3.connect(file)) as connection:
        for later in range(SCHEMA_VERSION, version, -1):
            for statement in UNDO.get(later, ()):
                connection.execute(statement)
            for table in NEW_SINCE[later]:
                connection.execute(f"DROP TABLE {table}")
        connection.execute("UPDATE facts SET value = ? WHERE name = 'schema'", (version,))
        connection.commit()
