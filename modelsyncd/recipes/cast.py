"""The recipe that halves a safetensors model: weights of 32 or 64 bits become bf16 or f16, everything else stays.

What is no weight keeps its bits, by its name (`keep`): the scales of quantised weights, which all of these depend on,
and the frequencies of rotary positions, which far positions multiply by thousands. `config.json` says what the weights
are from now on, because loaders cast them back to what it says.

Rounding is to the nearest, ties to even, as IEEE 754 and the converters of torch have it; NaN stays NaN. What is too
large for f16 would become infinite, and is refused unless `overflow = allow`. 64 bits become bf16 by way of 32.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from modelsyncd.errors import BadInputError
from modelsyncd.formats import safetensors
from modelsyncd.formats.header import Header
from modelsyncd.manifest import Tensor
from modelsyncd.recipes.weights import WeightFile, copied, json_of, pieces, reader, weight_files, write_safetensors

_Wide = npt.NDArray[np.float32] | npt.NDArray[np.float64]
_WIDTHS = {"f32": 4, "f64": 8}
"""Bytes of an element of what is cast."""
_KEPT = (
    "*inv_freq *_scale_inv *.weight_scale *.input_scale *.scales *zero_point *absmax *.SCB *.e_score_correction_bias"
)
"""Names of tensors that stay as they are, as bitsandbytes, compressed-tensors, DeepSeek and Llama call them."""
_CONFIG = "config.json"
_WORDS = {"bf16": "bfloat16", "f16": "float16"}


class Cast:
    """fp32 → bf16 or fp16."""

    name: ClassVar[str] = "cast"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "safetensors with weights of 32 bits → the same in bf16 or f16: half the size"
    options: ClassVar[Mapping[str, str]] = {"dtype": "bf16", "overflow": "refuse", "keep": _KEPT}

    def derive(self, source: Path, target: Path, options: Mapping[str, str]) -> None:
        """See `Recipe`. Raises BadInputError for an unknown dtype, and for a folder without such weights."""
        dtype = options["dtype"]
        if dtype not in ("bf16", "f16"):
            raise BadInputError(f"cast can't make {dtype[:40]!r}", hint="dtype=bf16 or dtype=f16")
        if options["overflow"] not in ("refuse", "allow"):
            raise BadInputError("overflow is refuse or allow")
        kept = options["keep"].split()
        files = {file.path: file for file in weight_files(source) if file.format == "safetensors"}
        if not any(_is_cast(tensor, kept) for file in files.values() for tensor in file.tensors):
            raise BadInputError("there is no safetensors file with weights of 32 bits", hint="nothing to cast")
        for path in sorted(one for one in source.rglob("*") if one.is_file()):
            name = path.relative_to(source).as_posix()
            if name in files:
                _cast(path, files[name], target / name, dtype, kept, refuse=options["overflow"] == "refuse")
            elif path.name == _CONFIG:
                _say(path, target / name, dtype)
            else:
                copied(path, target / name)


def _is_cast(tensor: Tensor, kept: Sequence[str]) -> bool:
    return tensor.dtype in _WIDTHS and not any(fnmatch.fnmatchcase(tensor.name, pattern) for pattern in kept)


def _say(path: Path, out: Path, dtype: str) -> None:
    """What `config.json` says of the weights, if it says so."""
    said = json_of(path) or {}
    wide = {key: _WORDS[dtype] for key in ("dtype", "torch_dtype") if said.get(key) in ("float32", "float64")}
    copied(path, out)
    if wide:
        out.write_text(json.dumps(said | wide, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _cast(path: Path, file: WeightFile, target: Path, dtype: str, kept: Sequence[str], *, refuse: bool) -> None:
    told = [
        (one.name, dtype, one.shape, 2 * (one.size // _WIDTHS[one.dtype]))
        if _is_cast(one, kept)
        else (one.name, one.dtype, one.shape, one.size)
        for one in file.tensors
    ]
    with path.open("rb") as reading:

        def content(tensor: Tensor) -> Iterator[bytes]:
            for raw in pieces(reading, tensor):
                yield _narrow(raw, tensor, dtype, refuse=refuse) if _is_cast(tensor, kept) else raw

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
