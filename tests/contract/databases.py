"""The databases that every catalogue test runs on: SQLite, and a real PostgreSQL server that the tests start.

`@pytest.fixture(params=URLS)` and `opened(request.param, tmp_path)` give a test a new catalogue on each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloud_hub.catalog import Catalog
from tests.fakes import postgres

SQLITE, POSTGRES = "sqlite:///{folder}/catalog.db", "postgresql"
URLS = [SQLITE, POSTGRES]


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Catalog]:
    """A new catalogue."""
    if kind == POSTGRES and not postgres.why_not():
        with postgres.new_database(postgres.prepared(_lay_out)) as url, Catalog.open(url) as catalog:
            yield catalog
        return
    with database(kind, folder) as url, Catalog.open(url) as catalog:
        yield catalog


def _lay_out(url: str) -> None:
    Catalog.open(url).close()


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database without any tables."""
    if kind == SQLITE:
        yield kind.format(folder=folder)
        return
    if reason := postgres.why_not():
        pytest.skip(reason)
    with postgres.new_database() as url:
        yield url
