"""The only place that remembers which versions were held when the agent ended, so that they stay until it is back.

A job goes on while the agent restarts, and asks for its hold again a moment later. Until then we hold what it held.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from edge_agent.leases import Leases
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Digest
from modelsyncd.errors import InvalidNameError, ModelsyncError
from modelsyncd.names import parse_model
from modelsyncd.store.durable import disk_errors, write_file
from modelsyncd.store.version import Version

FILE = "leases.json"
GRACE = 20.0  # seconds: a client is back within two, unless its machine is very busy
AGAIN = 30.0  # seconds after which a disk that refused is asked again
HOLDER = "whoever held it before the agent restarted"


class LeaseMemory:
    """The file with what is held. Belongs to the loop's thread."""

    def __init__(self, folder: Path, leases: Leases, freed: Callable[[], object], grace: float = GRACE) -> None:
        """`freed` is called when what was remembered is let go."""
        self._path = folder / FILE
        self._leases = leases
        self._freed = freed
        self._grace = grace
        self._holds = ExitStack()
        self._written: frozenset[Version] = frozenset()

    def _load(self) -> None:
        """Holds what was held; a file that can't be read is no reason not to start."""
        try:
            remembered = self._read()
        except ModelsyncError as error:
            Log().failure("leases.forgotten", error)
            return
        self._written = remembered
        for version in remembered:
            self._holds.enter_context(self._leases.hold(version, HOLDER))

    async def run(self) -> None:
        """Until it is cancelled; holds at once what was held, and writes down each change."""
        self._load()
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        self._leases.tell(lambda: loop.call_soon_threadsafe(changed.set))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._let_go())
            while True:
                held = self._leases.held()
                patience = None
                if held != self._written:
                    try:
                        await asyncio.to_thread(self._write, held)
                        self._written = held
                    except ModelsyncError as error:
                        Log().failure("leases.forgotten", error)
                        patience = AGAIN
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await changed.wait()
                changed.clear()

    async def _let_go(self) -> None:
        await asyncio.sleep(self._grace)
        self._holds.close()
        self._freed()

    def _read(self) -> frozenset[Version]:
        """Raises DiskError, InvalidNameError."""
        if not self._path.exists():
            return frozenset()
        with disk_errors(self._path):
            text = self._path.read_text(encoding="utf-8", errors="replace")
        try:
            return frozenset(
                Version(parse_model(one["model"]), int(one["number"]), Digest(bytes.fromhex(one["manifest"])))
                for one in json.loads(text)
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidNameError(f"{self._path} holds no versions") from error

    def _write(self, held: frozenset[Version]) -> None:
        """Raises DiskError."""
        found = [
            {"model": str(one.model), "number": one.number, "manifest": one.manifest.hex()}
            for one in sorted(held, key=lambda one: (one.model, one.number, one.manifest))
        ]
        write_file(self._path, json.dumps(found).encode())
