"""The only place that says what an import brings: the files, and what their owner's form says of them."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from modelsyncd.errors import BadInputError, HostilePathError
from modelsyncd.limits import LIMITS

_NONE: Mapping[str, str] = MappingProxyType({})
_NO_METRICS: Mapping[str, float] = MappingProxyType({})
_NOT_OURS = frozenset(
    {".git", ".gitattributes", ".gitignore", ".cache", ".huggingface", ".ipynb_checkpoints", "__pycache__", ".DS_Store"}
)
"""Names that belong to tools and not to a model."""


@dataclass(frozen=True, slots=True)
class Brought:
    """A model of somebody else's form. `path` is what is read; labels and the rest are what the form says."""

    form: str
    path: Path
    labels: Mapping[str, str] = field(default_factory=lambda: _NONE)
    metrics: Mapping[str, float] = field(default_factory=lambda: _NO_METRICS)
    licence: str = ""
    datasets: tuple[str, ...] = ()
    note: str = ""


def bounded(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels as a release may have them: printable, short, and not too many."""
    clean = {_short(key): _short(value) for key, value in labels.items() if key and value}
    return dict(list(clean.items())[: LIMITS.labels // 2])


def number(value: object) -> float | None:
    """A finite number from what a file says, also as text; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def has_others_files(folder: Path) -> bool:
    """Whether something in a folder is a tool's, or a link, so that the model has to be laid out apart."""
    for top, folders, files in os.walk(folder):
        if any(name in _NOT_OURS or (Path(top) / name).is_symlink() for name in (*folders, *files)):
            return True
    return False


def lay_out(folder: Path, target: Path) -> None:
    """The model's files alone in `target`, an empty folder: hard links where that can be, else copies.

    Links are followed inside the folder, and from a snapshot inside its model of the cache of huggingface_hub. Raises
    HostilePathError for one that leads out: whoever made the folder would have any file of this machine published.
    Raises BadInputError for one that leads nowhere, and OSError.
    """
    snapshot = folder.resolve().parent.name == "snapshots"
    root = folder.resolve().parent.parent if snapshot else folder.resolve()
    for path in _files(folder):
        place = target / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        real = path.resolve()
        if not real.is_relative_to(root):
            raise HostilePathError(
                f"{path} is a link that leads out of {root}",
                safe="nothing was published",
                hint="put the file itself there if it belongs to the model",
            )
        if not real.is_file():
            raise BadInputError(f"{path} leads to nothing", hint="fetch the model again where it came from")
        try:
            os.link(real, place)
        except OSError:
            shutil.copyfile(real, place)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _NOT_OURS:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


def _short(text: str) -> str:
    return "".join(char for char in text if char.isprintable())[: LIMITS.label_chars]
