"""The only place that compiles: loops of few signatures each, without the GIL, kept on disk where a place was named."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")

ELEMENTS = ("uint8", "uint16", "uint32")
"""Kinds of elements that loops are compiled for; numpy keeps the wider ones."""


if numba.config.DISABLE_JIT:
    msg = "NUMBA_DISABLE_JIT is set, and loops that are not compiled take many times as long as numpy's"
    raise ImportError(msg)


def read(kind: str) -> object:
    """An argument that is only read: an array from end to end, on any address."""
    return numba.types.Array(getattr(numba.types, kind), 1, "C", readonly=True, aligned=False)


def write(kind: str) -> object:
    """An array that is written to."""
    return numba.types.Array(getattr(numba.types, kind), 1, "C")


def number(kind: str = "int64") -> object:
    """A number."""
    return getattr(numba.types, kind)


def compiled(*signatures: tuple[object, tuple[object, ...]]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compiles for these signatures (result, arguments) alone, at once, or takes what was compiled before."""
    made = [result(*arguments) for result, arguments in signatures]

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        kept = bool(numba.config.CACHE_DIR)
        return cast("Callable[P, R]", numba.njit(made, nogil=True, cache=kept)(function))

    return decorate
