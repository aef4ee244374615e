"""Model files for tests, written by hand: the bytes of a safetensors file from its header."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import safetensors

BITS = {"U8": 8, "F16": 16, "F32": 32, "F64": 64}


def safetensors_file(header: bytes, data: bytes = b"") -> bytes:
    """A file with this header, right or wrong, and these bytes after it."""
    return len(header).to_bytes(8, "little") + header + data


def safetensors_header(
    tensors: Mapping[str, tuple[str, Sequence[int]]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """The header for tensors that lie one after the other: name → (dtype, shape)."""
    entries: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    position = 0
    for name, (dtype, shape) in tensors.items():
        size = BITS[dtype] // 8
        for extent in shape:
            size *= extent
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    return json.dumps(entries).encode()


@dataclass(frozen=True, slots=True)
class TheirTensor:
    """What the format's own reader says of a tensor."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def their_tensors(content: bytes) -> dict[str, TheirTensor]:
    """The tensors of a safetensors file by the format's own reader, by name. Raises SafetensorError."""
    read = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    return {name: TheirTensor(found["dtype"], tuple(found["shape"]), bytes(found["data"])) for name, found in read}
