"""What a coder may know about a chunk: a hint changes how small the payload is, never what it decodes to."""

from __future__ import annotations

from dataclasses import dataclass

_WIDTHS = {"f64": 8, "i64": 8, "u64": 8, "f32": 4, "i32": 4, "u32": 4, "f16": 2, "bf16": 2, "i16": 2, "u16": 2}


@dataclass(frozen=True, slots=True)
class Hint:
    """The elements of the tensor that most of a chunk belongs to.

    `dtype` as in Tensor.dtype (lower case; "" for opaque bytes). `phase`: bytes of the first element that lie before
    the chunk. `columns`: elements in a row, 0 when unknown. `skip`: elements of the first row that lie
    before the chunk.
    """

    dtype: str = ""
    phase: int = 0
    columns: int = 0
    skip: int = 0

    @property
    def width(self) -> int:
        """Bytes of an element; 1 for everything that is not wider, for packed and for unknown dtypes."""
        return _WIDTHS.get(self.dtype, 1)
