"""The only process that a step runs below: when whoever began it is gone, in whatever way, it ends the step.

It is run by its path and imports nothing of ours, so it is there in some hundredths of a second. The one who began it
holds the other end of its stdin, which the system closes for whoever is killed. It leads a process group of its own, in
which are the step and all that the step begins, and its last act is always to kill that group, itself with it: so no
other process can have got the group's number meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from threading import Thread
from types import FrameType

CODE, UNABLE = "code", "unable"
"""What it tells on stdout as JSON: the step's exit code (negative: its signal), or why it can't be run."""


def main(words: Sequence[str]) -> None:
    """Runs a command, whose output goes to stderr, and does not return."""
    try:
        for asked in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(asked, _stay)  # a handler, because what is ignored would be ignored by the step, too
        try:
            step = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        except OSError as error:
            _tell({UNABLE: error.strerror})
            return
        Thread(target=_end_with_whoever_began_it, daemon=True).start()
        _tell({CODE: step.wait()})
    finally:
        _end()


def _stay(_signal: int, _frame: FrameType | None) -> None:
    """The step is asked to end, and may take its time: as long as it is there, so is its guard."""


def _end_with_whoever_began_it() -> None:
    os.read(sys.stdin.fileno(), 1)
    _end()


def _tell(found: dict[str, object]) -> None:
    os.write(sys.stdout.fileno(), json.dumps(found).encode())


def _end() -> None:
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
