"""The only place that finds text to train on: what the modules of Python's standard library say of themselves."""

from __future__ import annotations

import ast
import random
import re
import sysconfig
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

_SENTENCE = re.compile(r"(?<=[.!?:])\s+")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def pairs(seed: int) -> list[tuple[str, str]]:
    """Sentences and the ones that follow them, shuffled; the same on every machine with the same Python.

    A sentence and its successor are about the same thing, so a sentence-embedding model can learn from them.
    """
    found = sorted({pair for text in _docstrings() for pair in _followers(text)})
    random.Random(seed).shuffle(found)
    return found


def frequent_words(sentences: list[tuple[str, str]], known: set[str], count: int) -> list[str]:
    """The `count` words, most frequent first, that are not in the vocabulary `known`."""
    seen: dict[str, int] = {}
    for one, other in sentences:
        for word in re.findall(r"[a-z_]{4,}", f"{one} {other}".lower()):
            if word not in known:
                seen[word] = seen.get(word, 0) + 1
    return sorted(seen, key=lambda word: (-seen[word], word))[:count]


def _docstrings() -> Iterator[str]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        if {"site-packages", "dist-packages", "test", "tests", "lib2to3"} & set(path.parts):
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue  # files that are broken on purpose
        for node in ast.walk(tree):
            if isinstance(node, _DOCUMENTED) and (said := ast.get_docstring(node)):
                yield said


def _followers(text: str) -> Iterator[tuple[str, str]]:
    sentences = [part for part in _SENTENCE.split(" ".join(text.split())) if 20 <= len(part) <= 300]
    yield from pairwise(sentences)
