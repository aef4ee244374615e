"""SQLite on a real disk without room: an error of ours in words, nothing is lost, and it goes on when there is room."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.small_disk import small_disk


@pytest.mark.parametrize("kind", ["cache", "catalog"])
def test_a_database_without_room_says_so_loses_nothing_and_goes_on(tmp_path: Path, kind: str) -> None:
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        command = disk.command([sys.executable, "-m", "tests.e2e.filling", kind, str(disk.inside)])
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
