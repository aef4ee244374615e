"""The only place that knows folders in Hugging Face's layout: a snapshot, or the cache of huggingface_hub.

The cache has `models--ORG--NAME/{refs/REVISION, snapshots/COMMIT/FILE → ../../blobs/…}`
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache). What a card says of results is in `model-index`
(https://github.com/huggingface/hub-docs/blob/main/modelcard.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from modelsyncd.card import CARD_FILE, read_card, read_front
from modelsyncd.errors import NotFoundError
from modelsyncd.foreign.brought import Brought, bounded, number

FORM = "huggingface"
MAIN = "main"
_CACHED = re.compile(r"models--(.+)")
_MARKS = ("config.json", CARD_FILE, "tokenizer.json", "model.safetensors.index.json", "model_index.json")


def fits(path: Path) -> bool:
    """Whether a folder looks so."""
    return (path / "snapshots").is_dir() or (path.is_dir() and any((path / name).exists() for name in _MARKS))


def read(path: Path, revision: str = MAIN) -> Brought:
    """A folder in this layout, or a model of the cache. Raises NotFoundError for no such revision, OSError."""
    folder = _snapshot(path, revision) if (path / "snapshots").is_dir() else path
    raw = (folder / CARD_FILE).read_bytes() if (folder / CARD_FILE).is_file() else b""
    card, front = read_card(raw), read_front(raw)
    labels = {"imported-from": _origin(folder, path), "task": card.task}
    if card.parents:
        labels["base-model"] = card.parents[0]
    library = front.get("library_name")
    if isinstance(library, str):
        labels["library"] = library
    return Brought(
        FORM,
        folder,
        bounded(labels),
        dict(_metrics(front)),
        card.licence,
        card.datasets,
        card.title,
    )


def _snapshot(path: Path, revision: str) -> Path:
    named = path / "refs" / revision
    commit = named.read_text(encoding="utf-8").strip() if named.is_file() else revision
    folder = path / "snapshots" / commit
    if not re.fullmatch(r"[\w.-]{1,100}", commit) or not folder.is_dir():
        there = sorted(one.name for one in (path / "snapshots").iterdir())
        raise NotFoundError(f"{path.name} has no revision {revision[:80]}", hint=f"there is {', '.join(there[:5])}")
    return folder


def _origin(folder: Path, path: Path) -> str:
    """Which model of which revision; the folder's name where that is not known."""
    found = _CACHED.fullmatch(path.name)
    return f"hf:{found[1].replace('--', '/')}@{folder.name}" if found else f"hf:{folder.name}"


def _metrics(front: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    """The card's results by the type of the metric; of several of one type the first."""
    seen: set[str] = set()
    for model in _dicts(front.get("model-index")):
        for result in _dicts(model.get("results")):
            for metric in _dicts(result.get("metrics")):
                name, value = metric.get("type"), number(metric.get("value"))
                if isinstance(name, str) and value is not None and name not in seen and len(seen) < 32:
                    seen.add(name)
                    yield name[:100], value


def _dicts(value: object) -> list[Mapping[str, object]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
