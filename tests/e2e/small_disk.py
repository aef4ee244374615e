"""A small disk for one program: a tmpfs in a mount namespace of its own, seen from outside through /proc.

Needs no more rights than a user namespace; where even that is not allowed, the tests that need it are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec sleep infinity'


@dataclass(frozen=True)
class SmallDisk:
    """`inside` is its path for programs that run on it, `path` the same folder for everybody else."""

    inside: Path
    path: Path
    _enter: tuple[str, ...]

    def command(self, command: list[str]) -> list[str]:
        """The command, as it runs where the disk is mounted."""
        return [*self._enter, *command]

    @property
    def free(self) -> int:
        """Bytes."""
        return shutil.disk_usage(self.path).free

    def fill(self, leave: int = 0) -> None:
        """Takes all room but so many bytes."""
        with (self.path / "filler").open("ab", buffering=0) as file, suppress(OSError):
            while (room := self.free - leave) > 0:
                file.write(bytes(min(room, 1 << 20)))

    def clear(self) -> None:
        """Gives back what `fill` took."""
        (self.path / "filler").unlink()


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[SmallDisk]:
    """A disk of `size` bytes, mounted on a new folder; skips the test where that is not possible."""
    folder.mkdir()
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("unshare and nsenter are not here, so there is no small disk")
    command = ["unshare", *rights, "--mount", "sh", "-c", _MOUNT, "sh", str(size), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stderr is not None
            if holder.stdout.readline() != "mounted\n":
                pytest.skip(f"no disk can be mounted here: {holder.stderr.read().strip()}")
            enter = ["nsenter", f"--target={holder.pid}", "--mount"]
            enter += ["--user", "--preserve-credentials"] if rights else []
            yield SmallDisk(folder, Path(f"/proc/{holder.pid}/root{folder}"), tuple(enter))
        finally:
            holder.kill()
