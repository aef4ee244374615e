"""The only place where what a person names with --base is read, and shown while it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from modelsyncd.ctl.progress import Meter, Step, meter
from modelsyncd.exchange.bases import named
from modelsyncd.exchange.local_base import LocalBase
from modelsyncd.exchange.thread import Check, in_thread
from modelsyncd.store.source import scan


async def read_bases(paths: Sequence[Path], *, silent: bool) -> list[LocalBase]:
    """Scans what somebody named, and shows it. Raises what `scan` raises."""
    found = []
    for path in paths:
        with meter(f"reading {path.name or path}", silent=silent) as shown:
            found.append(await in_thread(partial(_read, path, shown)))
    return found


def _read(path: Path, shown: Meter, check: Check) -> LocalBase:
    def progress(done: int, total: int) -> None:
        check()
        shown.show(Step(total, done))

    return named(path, scan(path, progress=progress))
