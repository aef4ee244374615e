"""What the readers of layouts say of bytes, and what is true of any layout whatever the bytes were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from modelsyncd.formats import Layout, read_elsewhere, read_layout
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.manifest import Tensor


class Reading(NamedTuple):
    """A layout, and what it took to find it: reads, and bytes in all."""

    layout: Layout | None
    reads: int
    read: int


def reading(content: bytes, path: str = "file", size: int | None = None, limits: Limits = LIMITS) -> Reading:
    """Reads the layout of a file; `size` is what it claims to be long, if it lies."""
    lengths: list[int] = []

    def read_at(offset: int, length: int) -> bytes:
        lengths.append(length)
        return content[offset : offset + length]

    layout = read_layout(path, len(content) if size is None else size, read_at, limits)
    return Reading(layout, len(lengths), sum(lengths))


def layout_of(content: bytes, path: str = "file", limits: Limits = LIMITS) -> Layout | None:
    """The layout of a file with these bytes and this name."""
    return reading(content, path, limits=limits).layout


def tensors_of(content: bytes, path: str = "file") -> dict[str, Tensor]:
    """The tensors by name; none without a layout."""
    layout = layout_of(content, path)
    return {tensor.name: tensor for tensor in layout.tensors} if layout else {}


def bytes_of(content: bytes, tensor: Tensor) -> bytes:
    """The tensor's bytes."""
    return content[tensor.offset : tensor.offset + tensor.size]


def elsewhere(files: Mapping[str, bytes], path: str) -> dict[str, Layout]:
    """The layouts that one file gives to the others."""
    sizes = {name: len(content) for name, content in files.items()}
    return read_elsewhere(path, sizes, lambda offset, length: files[path][offset : offset + length])


def check_sound(layout: Layout | None, size: int) -> None:
    """Tensors lie in the file, in order, none over another, and can be written into a manifest."""
    if layout is None:
        return
    assert layout.format
    assert layout.tensors
    end = 0
    for tensor in layout.tensors:
        assert end <= tensor.offset <= tensor.offset + tensor.size <= size
        end = tensor.offset + tensor.size
        assert all(0 <= extent < 1 << 63 for extent in tensor.shape)
        assert tensor.dtype == tensor.dtype.lower() != ""
        tensor.name.encode()
