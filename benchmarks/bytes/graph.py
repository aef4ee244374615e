"""The only place that writes ONNX: the model as a graph in fp32, and its dynamic int8 quantisation."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from benchmarks.bytes import bert, training

OPSET = 17


def write(weights: training.Weights, path: Path) -> None:
    """The fp32 graph. The exporter transposes matrices and gives them names of its own."""
    example = torch.ones(2, 8, dtype=torch.int64)
    axes = {0: "batch", 1: "tokens"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is called old
        torch.onnx.export(
            bert.of(weights).eval(),
            (example, example),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["sentence_embedding"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "sentence_embedding": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def quantise(source: Path, path: Path) -> None:
    """Matrices in int8, each with one scale."""
    logging.disable(logging.WARNING)  # which recommends a pass that a BERT has no use for
    try:
        quantize_dynamic(source, path, weight_type=QuantType.QInt8)
    finally:
        logging.disable(logging.NOTSET)
