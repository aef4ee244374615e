"""The layouts of model files, read from their headers alone, so that they are cut where their tensors begin and end.

Law: a layout is a hint and never an error. A reader looks at the header, trusts no number in it, executes nothing, and
answers None to anything odd; the file is then cut by its content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelsyncd.formats import safetensors
from modelsyncd.manifest import Tensor

ReadAt = Callable[[int, int], bytes]
"""(offset, length) in bytes → the bytes there, fewer at the end of the file."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the tensors of a file lie, ascending by offset, and the name of the reader that found them."""

    format: str
    tensors: tuple[Tensor, ...]


def read_layout(path: str, size: int, read_at: ReadAt) -> Layout | None:
    """The layout of a file of `size` bytes with this name, or None. Raises only what `read_at` raises."""
    if not path.casefold().endswith(".safetensors"):
        return None
    tensors = safetensors.read_tensors(size, read_at)
    return Layout("safetensors", tensors) if tensors else None
