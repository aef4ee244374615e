"""The databases that every catalogue test runs on.

SQLite is always there. MODELSYNCD_TEST_DATABASE may name more, as URLs with spaces between; each must be empty, and is
emptied after each test.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloud_hub.catalog import Catalog
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.schema import metadata

URLS = ["sqlite:///{folder}/catalog.db", *os.environ.get("MODELSYNCD_TEST_DATABASE", "").split()]


@contextmanager
def opened(template: str, folder: Path) -> Iterator[Catalog]:
    """A new catalogue."""
    url = template.format(folder=folder)
    with Catalog.open(url) as catalog:
        yield catalog
    if not url.startswith("sqlite"):
        database = Database(url)
        with database.write() as connection:
            metadata.drop_all(connection)
        database.close()
