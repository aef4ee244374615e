"""The only place where a node finds out what it is: facts by which a release's variants are chosen for it.

Everything here is cheap: a few small files are read, and nothing is imported or started to find out that it is there.
What can't be found out is left out, and what the settings say stands in place of what was found.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from modelsyncd.errors import BadInputError
from modelsyncd.limits import LIMITS
from modelsyncd.session.frames import Facts

FILE_CHARS = 64 << 10  # of a file of the kernel's that are read

_ARCHES = {"x86_64": "amd64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "aarch64"}
_DEVICES = {
    "cuda": ("dev/nvidia[0-9]*", "dev/nvhost-gpu", "proc/driver/nvidia/version"),
    "rocm": ("dev/kfd",),
    "edgetpu": ("dev/apex_*",),
    "hailo": ("dev/hailo[0-9]*",),
    "npu": ("dev/accel/accel*", "dev/rknpu", "dev/davinci[0-9]*"),
}
"""What is there when one of these is."""
_MODULES = {
    "onnxruntime": "onnxruntime",
    "torch": "torch",
    "tensorflow": "tensorflow",
    "tflite": "tflite_runtime",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "mindspore": "mindspore",
    "paddle": "paddle",
    "llama-cpp": "llama_cpp",
}
"""Runtimes by the module that has them, in the Python that the agent runs in."""
_PROGRAMS = {
    "triton": "tritonserver",
    "tensorrt": "trtexec",
    "mlserver": "mlserver",
    "ollama": "ollama",
    "llama-cpp": "llama-server",
}
"""Runtimes by a program that belongs to them."""
_FEATURES = frozenset(
    ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve")
)
"""What a processor can that a variant may be made for, of all that its flags say."""


class NodeFacts:
    """What the node is. `own` are the settings': a name with values, or with none to say nothing of it."""

    def __init__(self, own: Mapping[str, Sequence[str]], gather: Callable[[], Facts] | None = None) -> None:
        self._own = own
        self._gather = gather or found
        self.known: Facts = {}
        """As of the last look."""

    def look(self) -> Facts:
        """Finds out anew. Blocks."""
        facts = {**self._gather(), **{name: tuple(values) for name, values in self._own.items()}}
        self.known = {name: values for name, values in facts.items() if values}
        return self.known


def check_own(own: Mapping[str, Sequence[str]]) -> None:
    """Raises BadInputError for facts that nobody could be told of."""
    for name, values in own.items():
        words = (name, *values)
        if not name or len(words) > LIMITS.labels or any(len(word) > LIMITS.label_chars for word in words):
            raise BadInputError(
                f"facts.{name[:40]}: at most {LIMITS.labels - 1} values of {LIMITS.label_chars} characters",
                hint='write it as in runtimes = ["onnxruntime"]',
            )


def found(root: Path = Path("/")) -> Facts:
    """What can be found out below this root of the file system."""
    said: dict[str, Iterable[str]] = {
        "arch": _arch(),
        "os": [sys.platform],
        "cpus": [str(_cpus())],
        "cpu-features": sorted(_features(root)),
        "memory": _memory(root),
        "accelerators": _accelerators(root),
        "board": _board(root),
        "runtimes": _runtimes(),
    }
    facts = {name: tuple(value[: LIMITS.label_chars] for value in values) for name, values in said.items()}
    return {name: values for name, values in facts.items() if values}


def _arch() -> list[str]:
    """As the kernel calls it, and as most others do."""
    machine = platform.machine().lower()
    return [machine, *([_ARCHES[machine]] if machine in _ARCHES else [])] if machine else []


def _cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def _features(root: Path) -> frozenset[str]:
    for line in _text(root / "proc/cpuinfo").splitlines():
        name, _, words = line.partition(":")
        if name.strip().lower() in ("flags", "features"):
            return _FEATURES & frozenset(words.split())
    return frozenset()


def _memory(root: Path) -> list[str]:
    """Bytes that the machine has. A limit of the agent's own group says nothing of the jobs: it is not looked at."""
    for line in _text(root / "proc/meminfo").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "MemTotal:" and words[1].isdigit():
            return [str(int(words[1]) << 10)]
    return []


def _accelerators(root: Path) -> list[str]:
    return [name for name, paths in _DEVICES.items() if any(any(root.glob(path)) for path in paths)]


def _board(root: Path) -> list[str]:
    """What a single board computer calls itself."""
    name = _text(root / "proc/device-tree/model").strip("\0 \n")
    return [name] if name.isprintable() and name else []


def _runtimes() -> list[str]:
    modules = {name for name, module in _MODULES.items() if _is_there(module)}
    programs = {name for name, program in _PROGRAMS.items() if shutil.which(program)}
    return sorted(modules | programs)


def _is_there(module: str) -> bool:
    """Whether it could be imported; it is not."""
    try:
        return PathFinder.find_spec(module) is not None
    except (ImportError, OSError, ValueError):
        return False


def _text(path: Path) -> str:
    """What a small file of the kernel's says; nothing when it can't be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(FILE_CHARS)
    except OSError:
        return ""
