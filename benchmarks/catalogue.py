"""What questions to the hub's catalogue cost, and a push, as releases become many; rows are made, questions real."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import insert

from benchmarks.table import show
from cloud_hub.catalog import Catalog, schema
from cloud_hub.catalog.database import Database
from cloud_hub.catalog.search import parse_sort
from modelsyncd.digest import digest_of
from modelsyncd.names import parse_model
from modelsyncd.query.parser import parse_query
from modelsyncd.query.traits import Trait
from modelsyncd.release import ManifestRef, Release, SignedRelease, Variant

EACH = 10  # releases of one model
ROUNDS = 9  # of each question; the middle one counts
NOW = 1.8e9
TASKS = ("helmet", "gloves", "vest", "crack", "weld", "label", "gauge", "belt", "valve", "rust")
FORMATS = ("safetensors", "onnx", "gguf", "pytorch")

QUESTIONS = {
    "few are so": ("task = helmet and metrics.precision > 0.999 and format = onnx", ""),
    "many are so": ("format = onnx", ""),
    "many, by a metric": ("format = onnx", "-metrics.precision"),
    "of one model": ("model = bench/model-7", ""),
    "what has no channel": ("not channel = * and size < 20MiB", ""),
    "all, the newest": ("", ""),
    "none is so": ("task = nothing", ""),
}


def run(root: Path, counts: Sequence[int]) -> None:
    """Prints two tables: milliseconds against the number of releases."""
    asked: dict[str, list[object]] = {name: [] for name in QUESTIONS}
    done: dict[str, list[object]] = {}
    for count in counts:
        folder = root / str(count)
        folder.mkdir()
        url = f"sqlite:///{folder}/catalog.db"
        Catalog.open(url).close()
        _fill(url, count)
        with Catalog.open(url) as catalog:
            for name, (query, sort) in QUESTIONS.items():
                asked[name].append(_middle(_question(catalog, query, sort)))
            for name, doing in _doings(catalog, count).items():
                done.setdefault(name, []).append(_middle(doing))
        size = (folder / "catalog.db").stat().st_size
        done.setdefault("bytes of the database, per release", []).append(size // count)
    columns = ("releases", *(f"{count:,}" for count in counts))
    show("Queries for a page of 100, ms", columns, [(name, *row) for name, row in asked.items()])
    show("Everything else, ms", columns, [(name, *row) for name, row in done.items()])


def _question(catalog: Catalog, query: str, sort: str) -> Callable[[], object]:
    fields = ("format", "size", "metrics.precision")
    return lambda: catalog.search.find(parse_query(query, NOW), parse_sort(sort), limit=100, fields=fields)


def _doings(catalog: Catalog, count: int) -> dict[str, Callable[[], object]]:
    numbers = iter(range(1, 1_000))
    some = parse_model("bench/model-7")
    return {
        "page of 100 models": lambda: catalog.models.list("bench/", 100, f"bench/model-{count // EACH // 2}"),
        "history of a model": lambda: catalog.models.history(some),
        "push: commit and index": lambda: _push(catalog, next(numbers)),
        "what is left to index": lambda: catalog.traits.stale(20),
    }


def _push(catalog: Catalog, number: int) -> None:
    release, raw = _release("bench/pushed", number, f"pushed {number}")
    signed = SignedRelease(raw, ())
    catalog.models.commit(signed, release, digest_of(raw), channel="stable", who="admin/ann", now=NOW)
    catalog.traits.keep(release, _traits("bench/pushed", number, number))


def _middle(doing: Callable[[], object]) -> float:
    """Milliseconds."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        doing()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


def _release(model: str, number: int, content: str) -> tuple[Release, bytes]:
    raw = f"{model}:{number}:{content}".encode()
    manifest = ManifestRef(digest_of(raw), 10, 1_000, 3, digest_of(b"piece of " + raw))
    return Release(parse_model(model), number, (Variant("default", manifest, {}),)), raw


def _traits(model: str, number: int, place: int) -> list[Trait]:
    """As many as a release of one file has, spread by its place."""
    namespace, _, name = model.partition("/")
    return [
        Trait("namespace", namespace),
        Trait("name", name),
        Trait("created", NOW - place),
        Trait("producer", f"node/n{place % 500}"),
        Trait("labels.task", TASKS[place // EACH % len(TASKS)]),
        Trait("metrics.precision", place * 7_919 % 100_003 / 100_003),
        Trait("metrics.recall", place * 104_729 % 100_019 / 100_019),
        Trait("size", float(1 << (20 + place % 12)), "default"),
        Trait("files", 1.0, "default"),
        Trait("variant", "default", "default"),
        Trait("format", FORMATS[place % len(FORMATS)], "default"),
        Trait("parameters", float(place * 1_000), "default"),
        Trait("tensors", 148.0, "default"),
        Trait("dtype", "f32", "default"),
        Trait("parent", f"bench/model-{place // EACH}:{number - 1}"),
    ]


def _fill(url: str, count: int) -> None:
    """Lays releases into a catalogue in bulk; by commits it would take an hour."""
    database = Database(url)
    for first in range(0, count, 5_000):
        with database.write() as connection:
            places = range(first, min(first + 5_000, count))
            models = sorted({place // EACH for place in places})
            connection.execute(insert(schema.models), [_model_row(one) for one in models])
            connection.execute(insert(schema.releases), [_release_row(place) for place in places])
            connection.execute(insert(schema.traits), [row for place in places for row in _trait_rows(place)])
            connection.execute(
                insert(schema.indexed), [{"release_id": place + 1, "version": 1_000} for place in places]
            )
    database.close()


def _model_row(model: int) -> dict[str, object]:
    return {"id": model + 1, "name": f"bench/model-{model}", "last_number": EACH, "created_at": NOW}


def _release_row(place: int) -> dict[str, object]:
    model, number = f"bench/model-{place // EACH}", place % EACH + 1
    _, raw = _release(model, number, "")
    return {
        "id": place + 1,
        "model_id": place // EACH + 1,
        "number": number,
        "digest": digest_of(raw),
        "bytes": raw,
        "committed_at": NOW + place,
        "who": "admin/ann",
    }


def _trait_rows(place: int) -> list[dict[str, object]]:
    traits = _traits(f"bench/model-{place // EACH}", place % EACH + 1, place)
    return [
        {
            "release_id": place + 1,
            "variant": one.variant,
            "key": one.key,
            "text": one.value if isinstance(one.value, str) else None,
            "number": None if isinstance(one.value, str) else one.value,
        }
        for one in traits
    ]
