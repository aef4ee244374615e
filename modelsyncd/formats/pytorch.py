"""The only place that finds tensors in PyTorch's zip files: a pickle that names them, and an entry for each storage.

Law: nothing is unpickled. A storage is named after the first tensor that is all of it, in the words of the state dict;
after its own key when that can't be told surely. Files of the format before PyTorch 1.6 are pickles all through, and
opaque.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelsyncd.formats.dtype import BITS, COUNT_MAX, elements
from modelsyncd.formats.header import Header, OddError
from modelsyncd.formats.layout import laid_out
from modelsyncd.formats.pickled import NamedView, View, views
from modelsyncd.formats.zip_directory import Entry, stored_entries
from modelsyncd.manifest import Tensor

_PICKLE = "data.pkl"
_PICKLE_MAX = 16 << 20  # bytes: about 100,000 tensors


class QuantisedError(OddError):
    """A tensor is quantised: without its scales, which lie in the pickle, its elements mean nothing."""


def archive(entries: Sequence[Entry]) -> str | None:
    """The folder in the zip file that a PyTorch file has, with its slash; None for other zip files."""
    for entry in entries:
        folder, _, name = entry.name.rpartition("/")
        if name == _PICKLE and "/" not in folder:
            return f"{folder}/" if folder else ""
    return None


def read_tensors(header: Header, entries: Sequence[Entry], folder: str) -> tuple[Tensor, ...]:
    """The storages, ascending by offset. Raises OddError."""
    by_name = {entry.name: entry for entry in entries}
    order = by_name.get(f"{folder}byteorder")
    if order is not None and header.read(order.offset, min(order.size, 16)) != b"little":
        raise OddError
    named = _named(header, by_name[folder + _PICKLE])
    inside = f"{folder}data/"
    tensors = (
        _tensor(entry, entry.name.removeprefix(folder), named.get(entry.name.removeprefix(inside), []))
        for entry in entries
        if entry.name.startswith(inside) and entry.size
    )
    return laid_out(tensors, header.size)


def read_named(header: Header) -> tuple[Tensor, ...]:
    """Every tensor that the file names, in its order; two names may share their bytes.

    Raises OddError when one of them can't be told surely, or is not one run of its storage: then none can be had;
    QuantisedError with its name for a quantised one.
    """
    entries = stored_entries(header)
    folder = archive(entries)
    if folder is None:
        raise OddError
    by_name = {entry.name: entry for entry in entries}
    order = by_name.get(f"{folder}byteorder")
    pickle = by_name[folder + _PICKLE]
    if pickle.size > _PICKLE_MAX or (order is not None and header.read(order.offset, min(order.size, 16)) != b"little"):
        raise OddError
    found: dict[str, Tensor] = {}
    told: set[str] = set()
    for name, view in views(header.read(pickle.offset, pickle.size), header.limits):
        storage = by_name.get(f"{folder}data/{view.storage.key}")
        if storage is None or not view.dtype or not name or name in found or not _in_order(view):
            raise OddError
        if view.quantised:
            raise QuantisedError(name)
        width = BITS[view.dtype] // 8
        size, start = elements(view.shape) * width, view.offset * width
        if not (view.offset >= 0 and width and start + size <= storage.size):
            raise OddError
        found[name] = Tensor(name, view.dtype, view.shape, storage.offset + start, size)
        told.add(storage.name)
    if any(entry.size and entry.name.startswith(f"{folder}data/") and entry.name not in told for entry in entries):
        raise OddError  # what it belongs to is no plain tensor, and would be lost
    return tuple(found.values())


def _named(header: Header, pickle: Entry) -> dict[str, list[NamedView]]:
    """The tensors of each storage, by its key. Nothing when the pickle can't be followed: places need no names."""
    if pickle.size > _PICKLE_MAX:
        return {}
    found: dict[str, list[NamedView]] = {}
    try:
        for view in views(header.read(pickle.offset, pickle.size), header.limits):
            found.setdefault(view.view.storage.key, []).append(view)
    except OddError:
        return {}
    return found


def _tensor(entry: Entry, key: str, found: Sequence[NamedView]) -> Tensor:
    """The storage as the first tensor that is all of it; else as a row of elements, or of bytes."""
    for one in found:
        if one.view.dtype and _is_all(one, entry.size):
            return Tensor(one.name or key, one.view.dtype, one.view.shape, entry.offset, entry.size)
    dtype = next(_typed(found), "u8")
    count, rest = divmod(8 * entry.size, BITS[dtype])
    if rest:
        raise OddError
    return Tensor(key, dtype, (count,), entry.offset, entry.size)


def _typed(found: Sequence[NamedView]) -> Iterator[str]:
    return (one.view.dtype for one in found if one.view.dtype)


def _is_all(one: NamedView, size: int) -> bool:
    """Whether a tensor has each byte of its storage once, in order."""
    view = one.view
    return not view.offset and _in_order(view) and elements(view.shape) * BITS[view.dtype] == 8 * size


def _in_order(view: View) -> bool:
    """Whether its elements lie one after the other, the innermost extent first."""
    if len(view.strides) != len(view.shape):
        return False
    stride = 1
    for extent, given in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if extent != 1 and given != stride:
            return False
        stride *= extent
        if not 0 <= stride < COUNT_MAX:
            return False
    return True
