"""The layouts of model files, read from their headers alone, so that they are cut where their tensors begin and end.

Law: a layout is a hint and never an error. A reader looks at the header, trusts no number in it, executes nothing, and
answers None to anything odd; the file is then cut by its content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from modelsyncd.formats import gguf, hdf5, numpy_files, onnx, pytorch, safetensors, tflite
from modelsyncd.formats.header import Header, OddError, ReadAt
from modelsyncd.formats.layout import Layout, laid_out
from modelsyncd.formats.zip_directory import MAGIC as ZIP
from modelsyncd.formats.zip_directory import Entry, stored_entries
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.manifest import Tensor

__all__ = ["Layout", "ReadAt", "points_elsewhere", "read_elsewhere", "read_layout"]

_SNIFFED = 8  # bytes


def read_layout(path: str, size: int, read_at: ReadAt, limits: Limits = LIMITS) -> Layout | None:
    """The layout of a file of `size` bytes with this name, or None. Raises only what `read_at` raises."""
    try:
        format_name, tensors = _read(path, Header(size, read_at, limits))
    except OddError:
        return None
    return Layout(format_name, tensors) if tensors else None


def _read(path: str, header: Header) -> tuple[str, tuple[Tensor, ...]]:
    """The format and the tensors: what the first bytes say counts more than the name."""
    magic = header.upto(0, _SNIFFED)
    if magic.startswith(gguf.MAGIC):
        return "gguf", gguf.read_tensors(header)
    if magic.startswith(ZIP):
        return _read_zip(header)
    if magic.startswith(hdf5.MAGIC):
        return "hdf5", hdf5.read_tensors(header)
    if magic.startswith(numpy_files.MAGIC):
        return "npy", numpy_files.read_tensors(header)
    if magic.endswith(tflite.MAGIC) and len(magic) == _SNIFFED:
        return "tflite", tflite.read_tensors(header)
    if path.casefold().endswith(".safetensors"):
        return "safetensors", safetensors.read_tensors(header)
    if points_elsewhere(path):
        return "onnx", onnx.read_tensors(header).inside
    raise OddError


def _read_zip(header: Header) -> tuple[str, tuple[Tensor, ...]]:
    entries = stored_entries(header)
    folder = pytorch.archive(entries)
    if folder is not None:
        return "pytorch", pytorch.read_tensors(header, entries, folder)
    if numpy_files.is_archive(entries):
        return "npz", numpy_files.read_archive(header, entries)
    return "keras", _read_keras(header, [entry for entry in entries if entry.name.endswith(".h5")])


def _read_keras(header: Header, weights: Sequence[Entry]) -> tuple[Tensor, ...]:
    """The tensors of the one HDF5 file that a `.keras` file has in it."""
    if len(weights) != 1:
        raise OddError
    start = weights[0].offset
    found = hdf5.read_tensors(header.part(start, weights[0].size))
    return tuple(replace(tensor, offset=start + tensor.offset) for tensor in found)


def points_elsewhere(path: str) -> bool:
    """Whether a file with this name may say how others beside it are laid out."""
    return path.casefold().endswith(".onnx")


def read_elsewhere(path: str, sizes: Mapping[str, int], read_at: ReadAt, limits: Limits = LIMITS) -> dict[str, Layout]:
    """The layouts that a file gives to others, by their path. `sizes` has the bytes of every file by its path.

    Raises only what `read_at` raises.
    """
    try:
        found = onnx.read_tensors(Header(sizes[path], read_at, limits)).elsewhere
    except OddError:
        return {}
    folder = path.rpartition("/")[0]
    layouts: dict[str, Layout] = {}
    for name, tensors in found.items():
        other = f"{folder}/{name}" if folder else name
        if other in sizes and other != path:
            layouts.update(_layout_of_data(other, sizes[other], tensors, limits))
    return layouts


def _layout_of_data(path: str, size: int, tensors: tuple[Tensor, ...], limits: Limits) -> dict[str, Layout]:
    try:
        kept = laid_out(tensors, size, limits)
    except OddError:
        return {}
    return {path: Layout("onnx-data", kept)} if kept else {}
