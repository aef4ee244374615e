"""What examples with a watching job share: waiting for its lines, and a run that shows logs when it fails."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from docs.demo.fleet import PATIENCE, DemoError, Fleet, fleet


class Job:
    """A job on a node, in a process of its own: its module, the agent's socket, and more arguments."""

    def __init__(self, here: Fleet, node: str, module: str, *arguments: str) -> None:
        target = f"unix:{here.root / node / 'agent.sock'}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, target, *arguments], stdout=subprocess.PIPE, text=True
        )
        self._lines: Queue[dict[str, Any]] = Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        here.stack.callback(self._end)

    def next(self) -> dict[str, Any]:
        """The next thing that it says. Raises DemoError when it says nothing for long."""
        try:
            return self._lines.get(timeout=PATIENCE)
        except Empty:
            raise DemoError(f"the job said nothing for {PATIENCE:.0f} s") from None

    @property
    def silent(self) -> bool:
        """Whether it has said nothing that was not taken by `next`."""
        return self._lines.empty()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._listener.join()


def expect(truth: bool, what: str) -> None:
    """Raises DemoError unless it is so."""
    if not truth:
        raise DemoError(f"this should be so: {what}")


def run(walk: Callable[[Fleet], None]) -> int:
    """Runs it in a temporary folder; 0 when all of it worked."""
    try:
        with tempfile.TemporaryDirectory(prefix="modelsyncd-") as root, fleet(Path(root)) as here:
            try:
                walk(here)
            except DemoError:
                for log in sorted(here.root.glob("*.log")):
                    print(f"--- {log.name}\n{log.read_text()[-4000:]}", file=sys.stderr)
                raise
    except DemoError as error:
        print(f"The example stopped: {error}", file=sys.stderr)
        return 1
    return 0
