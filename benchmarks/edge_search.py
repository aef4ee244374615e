"""What a search on a node takes: an extract of many releases, and the questions of the hub's benchmark."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from benchmarks.catalogue import EACH, FORMATS, NOW, QUESTIONS, ROUNDS, TASKS
from benchmarks.table import show
from edge_agent.searching import find
from modelsyncd.query.traits import Trait
from modelsyncd.store.extract import Extract, KeptRelease

FIELDS = ("format", "size", "metrics.precision")


def run(root: Path, counts: Sequence[int]) -> None:
    """Prints one table: milliseconds against the number of releases."""
    rows: dict[str, list[object]] = {name: [] for name in [*QUESTIONS, "bytes of the extract, per release"]}
    for count in counts:
        path = root / f"{count}.db"
        extract = Extract(path)
        names = _fill(extract, count)
        for name, (query, sort) in QUESTIONS.items():
            rows[name].append(round(1e3 * _middle(extract, query, sort, names), 1))
        extract.close()
        rows["bytes of the extract, per release"].append(path.stat().st_size // count)
    columns = ("releases", *(f"{count:,}" for count in counts))
    show("Queries on a node for the first 100, ms", columns, [(name, *row) for name, row in rows.items()])


def _middle(extract: Extract, query: str, sort: str, names: Sequence[str]) -> float:
    taken: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        find(extract, query, sort, limit=100, fields=FIELDS, readable=names, now=NOW)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _fill(extract: Extract, count: int) -> list[str]:
    rng, names = Random(1), [f"bench/model-{number}" for number in range(count // EACH)]
    for name in names:
        extract.put(name, [_release(rng, number) for number in range(1, EACH + 1)], anew=True)
        extract.mark(name, "1.1.1.1.", {"stable": EACH})
    return names


def _release(rng: Random, number: int) -> KeptRelease:
    traits = [
        Trait("format", rng.choice(FORMATS), "default"),
        Trait("size", float(rng.randint(1 << 20, 1 << 30)), "default"),
        Trait("parameters", float(rng.randint(1_000, 1_000_000_000)), "default"),
        Trait("dtype", rng.choice(("f32", "bf16", "i8")), "default"),
        Trait("framework", "pytorch", "default"),
        Trait("variant", "default", "default"),
        Trait("labels.task", rng.choice(TASKS)),
        Trait("metrics.precision", rng.random()),
        Trait("metrics.recall", rng.random()),
        Trait("namespace", "bench"),
        Trait("created", NOW - rng.random() * 1e7),
        Trait("producer", "admin/ann"),
        Trait("licence", "apache-2.0"),
    ]
    return KeptRelease(number, NOW - rng.random() * 1e7, "admin/ann", traits)
