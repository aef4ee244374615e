"""The recipe that quantises an ONNX model to int8: ONNX Runtime's dynamic quantisation, which needs no samples.

The library is given the model, not its path: beside a path it writes files of its own. Weights that lie in files beside
the model are read with it, and what is made has them in a file of its own; the old ones are not carried along.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from modelsyncd.errors import BadInputError
from modelsyncd.recipes.weights import copied

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

_FLAGS = {"yes": True, "no": False}


class OnnxInt8:
    """ONNX fp32 → int8 weights, activations quantised as they come."""

    name: ClassVar[str] = "onnx-int8"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "ONNX with weights of 32 bits → int8 (ONNX Runtime, dynamic): a quarter of the size"
    options: ClassVar[Mapping[str, str]] = {"per_channel": "no", "reduce_range": "no"}

    def __init__(self) -> None:
        import onnx  # noqa: PLC0415  # an extra, and heavy
        from onnxruntime import quantization  # noqa: PLC0415

        self._onnx = onnx
        self._library = quantization

    def derive(self, source: Path, target: Path, options: Mapping[str, str]) -> None:
        """See `Recipe`. Raises BadInputError for a folder without an ONNX model that can be quantised."""
        flags = {name: _flag(name, options[name]) for name in self.options}
        models = sorted(source.rglob("*.onnx"))
        if not models:
            raise BadInputError("there is no .onnx file in it", hint="its files are named by `modelsyncctl show`")
        used: set[Path] = set()
        for path in models:
            out = target / path.relative_to(source)
            out.parent.mkdir(parents=True, exist_ok=True)
            used |= {path, *self._quantise(path, out, flags)}
        for path in sorted(one for one in source.rglob("*") if one.is_file()):
            if path not in used:
                copied(path, target / path.relative_to(source))

    def _quantise(self, path: Path, out: Path, flags: Mapping[str, bool]) -> set[Path]:
        """The files beside the model that its weights were in."""
        try:
            beside = {path.parent / place for place in _places(self._onnx.load(path, load_external_data=False))}
            model = self._onnx.load(path)
            self._library.quantize_dynamic(
                model,
                out,
                weight_type=self._library.QuantType.QInt8,
                use_external_data_format=bool(beside),
                **flags,
            )
        except Exception as error:  # the libraries raise whatever their parts raise
            raise BadInputError(f"{path.name} can't be quantised: {error}") from error
        return beside


def _places(model: ModelProto) -> Iterator[str]:
    """Files that weights lie in, as the model names them."""
    for tensor in _tensors(model.graph):
        if tensor.data_location == tensor.EXTERNAL:
            yield from (pair.value for pair in tensor.external_data if pair.key == "location")


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def _flag(name: str, value: str) -> bool:
    if value not in _FLAGS:
        raise BadInputError(f"{name} is yes or no, not {value[:40]!r}")
    return _FLAGS[value]
