"""Zip files for tests, written byte by byte, so that they can lie; and PyTorch's, without PyTorch."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """An entry: what the directory says, and in what the local header departs from it."""

    name: str
    data: bytes
    method: int = 0
    flags: int = 0
    extra: bytes = b""
    local_name: str | None = None
    local_size: int | None = None
    size: int | None = None
    offset: int | None = None
    in_64: bool = False


def zip_file(members: Sequence[Member], comment: bytes = b"", end_64: bool = False, count: int | None = None) -> bytes:
    """The members one after the other, the directory, and the end; `count` is how many it claims to have."""
    out = bytearray()
    directory = bytearray()
    for member in members:
        offset = len(out) if member.offset is None else member.offset
        out += _local(member) + member.data
        directory += _listed(member, offset)
    start = len(out)
    claimed = len(members) if count is None else count
    out += directory
    if end_64:
        at = len(out)
        out += struct.pack(
            "<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, claimed, claimed, len(directory), start
        ) + struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
        return bytes(out + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    short = min(claimed, 0xFFFF)
    out += struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, short, short, len(directory), start, len(comment)) + comment
    return bytes(out)


def _local(member: Member) -> bytes:
    name = (member.name if member.local_name is None else member.local_name).encode()
    size = len(member.data) if member.local_size is None else member.local_size
    crc = zlib.crc32(member.data)
    return (
        struct.pack(
            "<4s5H3I2H",
            b"PK\x03\x04",
            20,
            member.flags,
            member.method,
            0,
            33,
            crc,
            size,
            size,
            len(name),
            len(member.extra),
        )
        + name
        + member.extra
    )


def _listed(member: Member, offset: int) -> bytes:
    name = member.name.encode()
    size = len(member.data) if member.size is None else member.size
    extra = struct.pack("<HHQQQ", 1, 24, size, size, offset) if member.in_64 else b""
    short, at = (0xFFFFFFFF, 0xFFFFFFFF) if member.in_64 else (size, offset)
    return (
        struct.pack(
            "<4s6H3I5H2I",
            b"PK\x01\x02",
            45,
            20,
            member.flags,
            member.method,
            0,
            33,
            zlib.crc32(member.data),
            short,
            short,
            len(name),
            len(extra),
            0,
            0,
            0,
            0,
            at,
        )
        + name
        + extra
    )


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """Bytes of a `.pt` file: `kind` as in "FloatStorage"; elements of `width` bytes."""

    key: str
    kind: str
    width: int
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class TorchTensor:
    """A view of a storage; offset and strides in elements; `dtype` as in "float8_e4m3fn" for an untyped storage."""

    storage: Storage
    shape: tuple[int, ...]
    offset: int = 0
    strides: tuple[int, ...] | None = None
    dtype: str = ""
    parameter: bool = False
    quantised: bool = False


def torch_file(value: object, folder: str = "archive", byteorder: bytes = b"little", alignment: int = 64) -> bytes:
    """What `torch.save` writes: the pickle, then each storage, aligned by an extra field in its local header."""
    storages: dict[str, Storage] = {}
    pickle = b"\x80\x02" + _pickled(value, storages) + b"."
    members = [Member(f"{folder}/data.pkl", pickle), Member(f"{folder}/byteorder", byteorder)]
    position = sum(len(_local(member)) + len(member.data) for member in members)
    for key, storage in storages.items():
        name = f"{folder}/data/{key}"
        padding = -(position + 30 + len(name) + 4) % alignment
        extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
        members.append(Member(name, storage.data, extra=extra))
        position += 30 + len(name) + len(extra) + len(storage.data)
    return zip_file([*members, Member(f"{folder}/version", b"3\n")])


def _pickled(value: object, storages: dict[str, Storage]) -> bytes:
    """The opcodes of protocol 2 that make a value."""
    if isinstance(value, str):
        raw = value.encode()
        return b"X" + struct.pack("<I", len(raw)) + raw
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"\x8a\x08" + struct.pack("<q", value)
    if value is None:
        return b"N"
    if isinstance(value, tuple):
        return b"(" + b"".join(_pickled(one, storages) for one in value) + b"t"
    if isinstance(value, Mapping):
        inside = b"".join(_pickled(key, storages) + _pickled(one, storages) for key, one in value.items())
        return b"ccollections\nOrderedDict\n)R(" + inside + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(_pickled(one, storages) for one in value) + b"e"
    if isinstance(value, TorchTensor):
        return _pickled_tensor(value, storages)
    raise TypeError(value)


def _pickled_tensor(tensor: TorchTensor, storages: dict[str, Storage]) -> bytes:
    storage = tensor.storage
    storages[storage.key] = storage
    module = "torch.storage" if storage.kind == "UntypedStorage" else "torch"
    count = len(storage.data) // storage.width
    identity = (
        b"(" + _pickled("storage", storages) + f"c{module}\n{storage.kind}\n".encode() +
        b"".join(_pickled(one, storages) for one in (storage.key, "cpu", count)) + b"tQ"
    )  # fmt: skip
    strides = _strides(tensor.shape) if tensor.strides is None else tensor.strides
    arguments = identity + b"".join(_pickled(one, storages) for one in (tensor.offset, tensor.shape, strides, False))
    arguments += b"ccollections\nOrderedDict\n)R"
    if tensor.quantised:
        parameters = b"(ctorch\nper_tensor_affine\nG" + struct.pack(">d", 0.5) + _pickled(0, storages) + b"t"
        arguments = identity + b"".join(_pickled(one, storages) for one in (tensor.offset, tensor.shape, strides))
        made = b"ctorch._utils\n_rebuild_qtensor\n(" + arguments + parameters + b"\x89ccollections\nOrderedDict\n)RtR"
    elif tensor.dtype:
        made = b"ctorch._utils\n_rebuild_tensor_v3\n(" + arguments + f"ctorch\n{tensor.dtype}\n".encode() + b"tR"
    else:
        made = b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"
    if tensor.parameter:
        return b"ctorch._utils\n_rebuild_parameter\n(" + made + b"\x88ccollections\nOrderedDict\n)RtR"
    return made


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides: list[int] = []
    stride = 1
    for extent in reversed(shape):
        strides.append(stride)
        stride *= extent
    return tuple(reversed(strides))
