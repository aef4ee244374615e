"""The only place that knows what each model server wants to find: what goes beside the version folders, and what says
which of them counts.

Triton reads config.pbtxt, MLServer model-settings.json. TensorFlow Serving takes the highest number. A job with ONNX
Runtime follows the link `current`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from edge_agent.layouts import mlserver, triton
from edge_agent.layouts.folder import MARK
from edge_agent.layouts.settings import Layout, Server
from modelsyncd.errors import BadInputError

CURRENT = "current"
HIGHEST_COUNTS = frozenset({Server.TENSORFLOW_SERVING, Server.TRITON})
"""Servers that take a higher number for a newer version, whatever we say beside it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a version goes into its folder, what is written beside it, and a link to it, "" for none."""

    inside: tuple[str, ...]
    beside: Mapping[str, bytes] = field(default_factory=dict)
    link: str = ""


def shape(layout: Layout, number: int, paths: Collection[str], read: Callable[[str], bytes]) -> Shape:
    """What a server shall find of a version with these files; `read` gives one of them. Raises BadInputError."""
    if MARK in paths:
        raise BadInputError(f"a file {MARK!r} can't be shown to a model server", hint="publish it without")
    match layout.server:
        case Server.TRITON:
            inside = _without(paths, triton.FILE)
            own = _text(read(triton.FILE)) if triton.FILE in paths else None
            return Shape(inside, {triton.FILE: triton.config(layout.name, number, own, inside)})
        case Server.MLSERVER:
            inside = _without(paths, mlserver.FILE)
            given = read(mlserver.FILE) if mlserver.FILE in paths else None
            written = mlserver.settings(layout.name, number, given, inside, layout.implementation)
            return Shape(inside, {mlserver.FILE: written})
        case Server.TENSORFLOW_SERVING:
            return Shape(tuple(paths))
        case Server.ONNXRUNTIME:
            return Shape(tuple(paths), link=CURRENT)


def _without(paths: Collection[str], name: str) -> tuple[str, ...]:
    return tuple(path for path in paths if path != name)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadInputError(f"the model's {triton.FILE} is no text") from error
