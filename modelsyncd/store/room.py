"""The only place that says how much room a node's folder takes, and how much there is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from modelsyncd.store.durable import disk_errors


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of a folder's file system: `free` for us to use, `used` by what lies in the folder (holes not counted)."""

    free: int
    used: int


def room_of(folder: Path) -> Room:
    """Looks at every file below the folder. Raises DiskError."""
    with disk_errors(folder):
        system = os.statvfs(folder)
        return Room(
            system.f_bavail * system.f_frsize, sum(_used(Path(base), names) for base, _, names in os.walk(folder))
        )


def _used(folder: Path, names: list[str]) -> int:
    used = 0
    for name in names:
        try:
            used += (folder / name).lstat().st_blocks * 512
        except FileNotFoundError:
            continue  # gone while we looked
    return used
