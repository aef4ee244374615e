"""The only place that finds tensors in HDF5 files, as Keras and h5py write them: contiguous datasets in plain groups.

Written down in https://docs.hdfgroup.org/hdf5/latest/_f_m_t3.html (numbers of messages below are from section IV.A.2).
Chunked and compressed datasets, dense groups, links to elsewhere and elements that are no plain numbers are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from modelsyncd.formats.dtype import size_of
from modelsyncd.formats.header import Cursor, Header, OddError, text
from modelsyncd.formats.layout import laid_out
from modelsyncd.manifest import Tensor

MAGIC = b"\x89HDF\r\n\x1a\n"
_NOWHERE = (1 << 64) - 1
_DATASPACE, _DATATYPE, _LINK, _EXTERNAL, _LAYOUT, _CONTINUATION, _SYMBOLS = 1, 3, 6, 7, 8, 16, 17
_SHARED = 2  # flag of a message: its data is elsewhere
_SOFT = 2  # kind of a symbol: a path instead of an object
_BLOCKS = 64  # blocks of one object's header
_FLOATS = {(8, 11, 52): "f64", (4, 8, 23): "f32", (2, 5, 10): "f16", (2, 8, 7): "bf16"}
"""(bytes, bits of the exponent, bits of the mantissa)."""


@dataclass(frozen=True, slots=True)
class _Message:
    """A part of what an object's header says."""

    kind: int
    flags: int
    start: int
    end: int


def read_tensors(header: Header) -> tuple[Tensor, ...]:
    """The datasets by their path, ascending by offset. Raises OddError."""
    return laid_out(_Walk(header).tensors(_root(header)), header.size)


def _root(header: Header) -> int:
    """Where the root group's header lies."""
    version = header.u8(8)
    if version in (0, 1):
        widths, base, root = 13, 24 + 4 * version, 64 + 4 * version
    elif version in (2, 3):
        widths, base, root = 9, 12, 36
    else:
        raise OddError
    # Addresses of 8 bytes from the start of the file: what every writer of today makes.
    if header.read(widths, 2) != b"\x08\x08" or header.u64(base) != 0:
        raise OddError
    return header.u64(root)


class _Walk:
    """Goes from group to group, into each once: links may lead in a circle."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._entered: set[int] = set()

    def tensors(self, root: int) -> Iterator[Tensor]:
        """All datasets that are reached."""
        limits = self._header.limits
        waiting: list[tuple[str, int, int]] = [("", root, 0)]
        while waiting:
            path, at, depth = waiting.pop()
            if at in self._entered:
                continue
            self._entered.add(at)
            if depth > self._header.limits.layout_nesting or len(self._entered) > self._header.limits.layout_tensors:
                raise OddError
            messages = list(self._messages(at))
            tensor = self._dataset(path, messages)
            if tensor is not None:
                yield tensor
            for name, child in self._children(messages):
                if len(path) + len(name) > limits.layout_name_chars or len(waiting) > limits.layout_tensors:
                    raise OddError
                waiting.append((f"{path}/{name}" if path else name, child, depth + 1))

    def _messages(self, at: int) -> Iterator[_Message]:
        """The messages of an object's header, in either of its two forms."""
        if self._header.read(at, 4) == b"OHDR":
            return self._messages_2(at)
        return self._messages_1(at)

    def _messages_1(self, at: int) -> Iterator[_Message]:
        if self._header.u8(at) != 1:
            raise OddError
        blocks = [(at + 16, self._header.u32(at + 8))]
        for number, (start, length) in enumerate(blocks):  # grows while it is gone through
            if number >= _BLOCKS:
                raise OddError
            cursor = Cursor(self._header, start, start + length)
            while cursor.end - cursor.position >= 8:
                prefix = cursor.take(8)
                kind, size, flags = prefix[0] | prefix[1] << 8, prefix[2] | prefix[3] << 8, prefix[4]
                message = _Message(kind, flags, cursor.position, cursor.position + size)
                cursor.skip(size)
                if kind == _CONTINUATION:
                    blocks.append((self._header.u64(message.start), self._header.u64(message.start + 8)))
                yield message

    def _messages_2(self, at: int) -> Iterator[_Message]:
        flags = self._header.u8(at + 5)
        width = 1 << (flags & 3)
        start = at + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        prefix_size = 6 if flags & 4 else 4
        blocks = [(start + width, int.from_bytes(self._header.read(start, width), "little"))]
        for number, (begin, length) in enumerate(blocks):
            if number >= _BLOCKS:
                raise OddError
            cursor = Cursor(self._header, begin, begin + length)
            while cursor.end - cursor.position >= prefix_size:
                prefix = cursor.take(prefix_size)
                kind, size = prefix[0], prefix[1] | prefix[2] << 8
                message = _Message(kind, prefix[3], cursor.position, cursor.position + size)
                cursor.skip(size)
                if kind == _CONTINUATION:
                    begins, length_there = self._header.u64(message.start), self._header.u64(message.start + 8)
                    if self._header.read(begins, 4) != b"OCHK":
                        raise OddError
                    blocks.append((begins + 4, length_there - 8))  # without its checksum
                yield message

    def _dataset(self, path: str, messages: list[_Message]) -> Tensor | None:
        """The tensor, if this is a dataset of plain numbers in one piece."""
        said = {message.kind: message for message in messages}
        if not {_DATASPACE, _DATATYPE, _LAYOUT} <= said.keys() or _EXTERNAL in said:
            return None
        if any(said[kind].flags & _SHARED for kind in (_DATASPACE, _DATATYPE, _LAYOUT)):
            return None
        shape, dtype = self._shape(said[_DATASPACE]), self._dtype(said[_DATATYPE])
        place = self._place(said[_LAYOUT])
        if shape is None or dtype is None or place is None:
            return None
        if size_of(dtype, shape) != place[1]:
            raise OddError
        return Tensor(path, dtype, shape, *place)

    def _shape(self, message: _Message) -> tuple[int, ...] | None:
        version, rank = self._header.u8(message.start), self._header.u8(message.start + 1)
        if version not in (1, 2) or (version == 2 and self._header.u8(message.start + 3) > 1):
            return None
        start = message.start + (8 if version == 1 else 4)
        return tuple(self._header.u64(start + 8 * index) for index in range(rank))

    def _dtype(self, message: _Message) -> str | None:
        """Little-endian numbers; truth, which h5py keeps as an enumeration of one byte."""
        kind, bits = self._header.u8(message.start), self._header.u8(message.start + 1)
        size = self._header.u32(message.start + 4)
        if kind & 15 == 8 and size == 1:
            return "bool"
        if bits & 1 and size > 1:
            return None
        if kind & 15 == 0 and size in (1, 2, 4, 8) and self._header.u16(message.start + 10) == 8 * size:
            return f"{'i' if bits & 8 else 'u'}{8 * size}"
        if kind & 15 == 1 and not bits & 0x40:
            exponent, mantissa = self._header.u8(message.start + 13), self._header.u8(message.start + 15)
            return _FLOATS.get((size, exponent, mantissa))
        return None

    def _place(self, message: _Message) -> tuple[int, int] | None:
        """(first byte, bytes) of a contiguous dataset that was written to."""
        if self._header.u8(message.start) not in (3, 4) or self._header.u8(message.start + 1) != 1:
            return None
        offset, size = self._header.u64(message.start + 2), self._header.u64(message.start + 10)
        return None if offset == _NOWHERE else (offset, size)

    def _children(self, messages: list[_Message]) -> Iterator[tuple[str, int]]:
        """(name, where its header lies) of what is in a group."""
        for message in messages:
            if message.kind == _LINK:
                yield from self._link(message)
            elif message.kind == _SYMBOLS:
                tree, heap = self._header.u64(message.start), self._header.u64(message.start + 8)
                if self._header.read(heap, 4) != b"HEAP":
                    raise OddError
                names, length = self._header.u64(heap + 24), self._header.u64(heap + 8)
                yield from self._symbols(tree, names, names + length)

    def _link(self, message: _Message) -> Iterator[tuple[str, int]]:
        cursor = Cursor(self._header, message.start, min(message.end, self._header.size))
        version, flags = cursor.take(2)
        if version != 1 or (flags & 8 and cursor.take(1) != b"\0"):  # not a hard link
            return
        cursor.skip((8 if flags & 4 else 0) + (1 if flags & 0x10 else 0))
        length = int.from_bytes(cursor.take(1 << (flags & 3)), "little")
        name = text(cursor.take(min(length, self._header.limits.layout_name_chars + 1)))
        yield name, cursor.u64()

    def _symbols(self, tree: int, names: int, names_end: int) -> Iterator[tuple[str, int]]:
        """What a group's tree leads to; each node of it is entered once."""
        waiting = [tree]
        while waiting:
            node = waiting.pop()
            if node in self._entered or len(self._entered) > self._header.limits.layout_tensors:
                raise OddError
            self._entered.add(node)
            signature = self._header.read(node, 4)
            count = self._header.u16(node + 6)
            if signature == b"TREE":
                waiting.extend(self._header.u64(node + 32 + 16 * index) for index in range(count))
            elif signature == b"SNOD":
                for entry in range(node + 8, node + 8 + 40 * count, 40):
                    if self._header.u32(entry + 16) != _SOFT:
                        yield self._name(names + self._header.u64(entry), names_end), self._header.u64(entry + 8)
            else:
                raise OddError

    def _name(self, at: int, end: int) -> str:
        raw = self._header.upto(at, max(0, min(end - at, 4 * self._header.limits.layout_name_chars)))
        name, ends, _ = raw.partition(b"\0")
        if not ends:
            raise OddError
        return text(name)
