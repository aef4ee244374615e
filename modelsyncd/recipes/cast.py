"""The recipe that halves a safetensors model: weights of 32 or 64 bits become bf16 or f16, everything else stays.

Rounding is to the nearest, ties to even, as IEEE 754 and the converters of torch have it; NaN stays NaN. What is too
large for f16 would become infinite, and is refused unless `overflow = allow`. 64 bits become bf16 by way of 32.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from modelsyncd.errors import BadInputError
from modelsyncd.formats import safetensors
from modelsyncd.formats.header import Header
from modelsyncd.manifest import Tensor
from modelsyncd.recipes.weights import WeightFile, pieces, reader, weight_files, write_safetensors

_Wide = npt.NDArray[np.float32] | npt.NDArray[np.float64]
_WIDTHS = {"f32": 4, "f64": 8}
"""Bytes of an element of what is cast."""


class Cast:
    """fp32 → bf16 or fp16."""

    name: ClassVar[str] = "cast"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "safetensors with weights of 32 bits → the same in bf16 or f16: half the size"
    options: ClassVar[Mapping[str, str]] = {"dtype": "bf16", "overflow": "refuse"}

    def derive(self, source: Path, target: Path, options: Mapping[str, str]) -> None:
        """See `Recipe`. Raises BadInputError for an unknown dtype, and for a folder without such weights."""
        dtype = options["dtype"]
        if dtype not in ("bf16", "f16"):
            raise BadInputError(f"cast can't make {dtype[:40]!r}", hint="dtype=bf16 or dtype=f16")
        if options["overflow"] not in ("refuse", "allow"):
            raise BadInputError("overflow is refuse or allow")
        files = {file.path: file for file in weight_files(source) if file.format == "safetensors"}
        if not any(tensor.dtype in _WIDTHS for file in files.values() for tensor in file.tensors):
            raise BadInputError("there is no safetensors file with weights of 32 bits", hint="nothing to cast")
        for path in sorted(one for one in source.rglob("*") if one.is_file()):
            name = path.relative_to(source).as_posix()
            if name in files:
                _cast(path, files[name], target / name, dtype, refuse=options["overflow"] == "refuse")
            else:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / name)


def _cast(path: Path, file: WeightFile, target: Path, dtype: str, *, refuse: bool) -> None:
    told = [
        (one.name, dtype, one.shape, 2 * (one.size // _WIDTHS[one.dtype]))
        if one.dtype in _WIDTHS
        else (one.name, one.dtype, one.shape, one.size)
        for one in file.tensors
    ]
    with path.open("rb") as reading:

        def content(tensor: Tensor) -> Iterator[bytes]:
            for raw in pieces(reading, tensor):
                yield _narrow(raw, tensor, dtype, refuse=refuse) if tensor.dtype in _WIDTHS else raw

        metadata = safetensors.read_metadata(Header(path.stat().st_size, reader(reading)))
        write_safetensors(target, told, map(content, file.tensors), metadata)


def _narrow(raw: bytes, tensor: Tensor, dtype: str, *, refuse: bool) -> bytes:
    wide: _Wide = np.frombuffer(raw, np.float64) if tensor.dtype == "f64" else np.frombuffer(raw, np.float32)
    if dtype == "bf16":
        return bf16(wide).tobytes()
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float16)
    if refuse and np.any(np.isinf(narrow) & np.isfinite(wide)):
        raise BadInputError(
            f"{tensor.name} has values above 65,504: too large for f16", hint="dtype=bf16, or overflow=allow"
        )
    return narrow.tobytes()


def bf16(wide: _Wide) -> npt.NDArray[np.uint16]:
    """The bits of bf16, rounded to the nearest, ties to even."""
    with np.errstate(over="ignore"):
        bits = wide.astype(np.float32).view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    nan = (bits & np.uint32(0x7FFF_FFFF)) > np.uint32(0x7F80_0000)
    return np.where(nan, (bits >> np.uint32(16)) | np.uint32(0x40), rounded).astype(np.uint16)
