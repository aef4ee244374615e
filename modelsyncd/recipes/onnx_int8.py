"""The recipe that quantises an ONNX model to int8: ONNX Runtime's dynamic quantisation, which needs no samples."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from modelsyncd.errors import BadInputError

_FLAGS = {"yes": True, "no": False}


class OnnxInt8:
    """ONNX fp32 → int8 weights, activations quantised as they come."""

    name: ClassVar[str] = "onnx-int8"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "ONNX with weights of 32 bits → int8 (ONNX Runtime, dynamic): a quarter of the size"
    options: ClassVar[Mapping[str, str]] = {"per_channel": "no", "reduce_range": "no"}

    def __init__(self) -> None:
        from onnxruntime import quantization  # noqa: PLC0415  # an extra, and heavy

        self._library = quantization

    def derive(self, source: Path, target: Path, options: Mapping[str, str]) -> None:
        """See `Recipe`. Raises BadInputError for a folder without an ONNX model that can be quantised."""
        flags = {name: _flag(name, options[name]) for name in self.options}
        models = sorted(source.rglob("*.onnx"))
        if not models:
            raise BadInputError("there is no .onnx file in it", hint="its files are named by `modelsyncctl show`")
        for path in sorted(one for one in source.rglob("*") if one.is_file()):
            out = target / path.relative_to(source)
            out.parent.mkdir(parents=True, exist_ok=True)
            if path not in models:
                shutil.copyfile(path, out)
                continue
            try:
                self._library.quantize_dynamic(path, out, weight_type=self._library.QuantType.QInt8, **flags)
            except Exception as error:  # the library raises whatever its parts raise
                raise BadInputError(f"{path.name} can't be quantised: {error}") from error


def _flag(name: str, value: str) -> bool:
    if value not in _FLAGS:
        raise BadInputError(f"{name} is yes or no, not {value[:40]!r}")
    return _FLAGS[value]
