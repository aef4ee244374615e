"""The only place that says what the files of a job are called, and what `model_config.json` has in it.

A worker copies what it is told of to $TMPDIR/model.<model_update_time> before it compares that word with the one it
knows. So the word has no /, and the file has just that name: with the folder as TMPDIR, source and target of that copy
are one file, and nothing is copied.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection
from pathlib import PurePosixPath

from modelsyncd.store.version import Version

CONFIG = "model_config.json"
ENVIRONMENT = "evaluate.env"
_WORD = re.compile(r"([1-9][0-9]{0,17}-[0-9a-f]{12})(?:-r([1-9][0-9]{0,8}))?")
SMALL = 8_192  # bytes that a file of ours has at most


def stable(file: str) -> str:
    """The name that always leads to the newest model: `model`, with the ending that its file has in the version."""
    return f"model{PurePosixPath(file).suffix}"


def versioned(word: str) -> str:
    """The name of the file that never changes."""
    return f"model.{word}"


def is_versioned(name: str) -> bool:
    """Whether this is a name that `versioned` makes."""
    return word_of(name) != ""


def word_of(name: str) -> str:
    """The word in such a name, "" for any other."""
    word = name.removeprefix("model.")
    return word if name.startswith("model.") and _WORD.fullmatch(word) else ""


def word_on_the_way(path: str) -> str:
    """The word of the version that a path leads into, or of the file that it leads to; "" for any other."""
    parts = reversed(PurePosixPath(path).parts)
    return next((word for part in parts if (word := word_of(part) or word_of(f"model.{part}"))), "")


def word_for(version: Version, failed: Collection[str]) -> str:
    """What a version is called in `model_update_time`: another word after each that workers failed to load under.

    A worker does not try a word again, whatever became of it.
    """
    first = version.folder_name
    words = [first, *(f"{first}-r{n}" for n in range(2, len(failed) + 3))]
    return next(word for word in words if word not in failed)


def is_word_of(word: str, version: Version) -> bool:
    """Whether the word names this version, at the first try or a later one."""
    found = _WORD.fullmatch(word)
    return found is not None and found[1] == version.folder_name


def number_in(word: str) -> int:
    """The release number that a word is about."""
    return int(word.partition("-")[0])


def config(path: str, word: str) -> bytes:
    """The bytes of `model_config.json`; `path` as the worker sees it."""
    said = {"model_config": {"model_path": path, "model_update_time": word}}
    return json.dumps(said, ensure_ascii=False).encode() + b"\n"


def word_in(raw: bytes) -> str:
    """The word that a `model_config.json` has, "" when it is none that we wrote."""
    try:
        word = json.loads(raw)["model_config"]["model_update_time"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return word if isinstance(word, str) and _WORD.fullmatch(word) else ""


def environment(new: str, old: str) -> bytes:
    """What a shell or a unit reads to evaluate two models against one another."""
    return f"MODEL_URLS={shlex.quote(f'{new};{old}')}\n".encode()
