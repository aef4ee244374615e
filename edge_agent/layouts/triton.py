"""The only place that writes Triton's config.pbtxt: a model's own one for this folder and version, or a short one.

Only the fields `name`, `version_policy` and, where the model brings no file, `backend` and `default_model_filename` are
ours; whatever else a model's own file says stays as it is. Triton finds inputs and outputs out by itself for ONNX,
TensorFlow, OpenVINO and TensorRT models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

FILE = "config.pbtxt"
_BACKENDS = {
    ".onnx": ("onnxruntime", "model.onnx"),
    ".plan": ("tensorrt", "model.plan"),
    ".pt": ("pytorch", "model.pt"),
    ".py": ("python", "model.py"),
    ".xml": ("openvino", "model.xml"),
}
_TOKEN = re.compile(
    r"""(?P<skip>\#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|(?P<open>[{\[<])|(?P<close>[}\]>])|(?P<word>[A-Za-z_]\w*)"""
)
_TEXT = re.compile(r"""\s*:\s*("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""")


def config(name: str, number: int, own: str | None, paths: Collection[str]) -> bytes:
    """The file for a model that Triton calls `name`, of which it shall serve this version."""
    policy = f"version_policy: {{ specific {{ versions: [ {number} ] }} }}\n"
    if own is None:
        return (f"name: {_quoted(name)}\n" + _backend(paths) + policy).encode()
    fields = dict(_fields(own))
    text = _named(own, fields.get("name"), name)
    return (text if "version_policy" in fields else f"{text.rstrip()}\n{policy}").encode()


def _named(own: str, at: int | None, name: str) -> str:
    if at is None:
        return f"name: {_quoted(name)}\n{own}"
    given = _TEXT.match(own, at)
    return own if given is None else own[: given.start(1)] + _quoted(name) + own[given.end(1) :]


def _fields(text: str) -> Iterator[tuple[str, int]]:
    """The names of the fields that are in no other one, each with where it ends."""
    depth = 0
    for token in _TOKEN.finditer(text):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
        elif token["word"] and not depth:
            yield token["word"], token.end()


def _backend(paths: Collection[str]) -> str:
    """What can be told from the files' names; nothing where that is not clear, which Triton may find out."""
    if "model.savedmodel/saved_model.pb" in paths:
        return 'backend: "tensorflow"\n'
    top = [path for path in paths if "/" not in path]
    known = [path for path in top if PurePosixPath(path).suffix in _BACKENDS]
    default = [path for path in known if path == _BACKENDS[PurePosixPath(path).suffix][1]]
    chosen = default or known
    if len(chosen) != 1:
        return ""
    backend, expected = _BACKENDS[PurePosixPath(chosen[0]).suffix]
    line = f'backend: "{backend}"\n'
    return line if chosen[0] == expected else f"{line}default_model_filename: {_quoted(chosen[0])}\n"


def _quoted(text: str) -> str:
    return json.dumps(text)
