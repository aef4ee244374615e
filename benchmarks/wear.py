"""What an agent writes to its disk for each byte of a fresh model that it delivers: flash wears out by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lab import Lab, Running, lab, random_file, until
from benchmarks.table import show
from tests.fakes.link.relay import tcp_link

GOAL = 1.2  # bytes written for a byte delivered
QUIET = 6.0  # seconds: reports and the cache's log are written by then


@dataclass(frozen=True)
class Case:
    """A model to be made at a path, and the bytes a second of the link; None for what it carries by itself."""

    name: str
    make: Callable[[Path], None]
    rate: float | None = None


def run(root: Path) -> None:
    """Prints one table."""
    cases = [
        Case("256 MiB in one file", lambda path: random_file(path, 256 << 20)),
        Case("32 MiB in 1,000 files", lambda path: _folder(path, 1_000, 32 << 10)),
        Case("1 MiB in one file", lambda path: random_file(path, 1 << 20)),
        Case("32 MiB in one file, 1 MB/s", lambda path: random_file(path, 32 << 20), 1e6),
        Case("4 MiB in one file, 100 kB/s", lambda path: random_file(path, 4 << 20), 1e5),
    ]
    with lab(root / "lab") as here:
        rows = [_row(here, root, number, case) for number, case in enumerate(cases)]
    columns = ("model", "delivered, MB", "written by the process, MB", "for each byte", f"goal {GOAL}")
    show("Bytes written by an agent for a fresh model", columns, rows)


def _row(here: Lab, root: Path, number: int, case: Case) -> tuple[object, ...]:
    model = root / f"model{number}"
    case.make(model)
    delivered = sum(path.stat().st_size for path in (model.rglob("*") if model.is_dir() else [model]) if path.is_file())
    here.ctl("push", str(model), f"bench/wear{number}", "--channel", "stable")
    name = f"wear{number}"
    road = nullcontext(None) if case.rate is None else tcp_link(here.address, case.rate)
    with road as link, here.agent(name, link.address if link is not None else "") as (agent, data):
        time.sleep(QUIET)
        before = written(agent)
        here.ctl("assign", f"bench/wear{number}@stable", "--node", name)
        until((data / "models" / "bench" / name / "stable").is_symlink, agent.process)
        time.sleep(QUIET)
        wrote = written(agent) - before
    ratio = wrote / delivered
    return case.name, delivered / 1e6, wrote / 1e6, f"{ratio:.3f}", "reached" if ratio <= GOAL else "missed"


def written(agent: Running) -> int:
    """Bytes that a process has had written to storage so far (proc(5), `write_bytes`)."""
    for line in Path(f"/proc/{agent.process.pid}/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise RuntimeError("/proc says nothing of what was written")


def _folder(path: Path, files: int, size: int) -> None:
    path.mkdir()
    for number in range(files):
        random_file(path / f"{number:04}.bin", size)
