"""A real authority in a temporary folder, for whoever needs certificates that are worth something."""

from __future__ import annotations

import time
from pathlib import Path

from modelsyncd.store.durable import write_file
from modelsyncd.trust.authority import Authority


def make_authority(folder: Path) -> Authority:
    """A new authority, valid from now."""
    return Authority.open(folder / "authority", time.time(), write_file)
