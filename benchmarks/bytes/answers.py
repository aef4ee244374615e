"""The only place that asks a model's file for answers, by the libraries that people load it with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from safetensors.torch import load_file

from benchmarks.bytes import bert, training

SENTENCES = ["the conveyor belt stopped", "Return a list of all the names in the module.", "oil on the floor"]


class Judge:
    """Compares what arrived with what was sent."""

    def __init__(self, model: Path) -> None:
        self._asked = training.tokens(training.tokenizer_of(model), SENTENCES)

    def check(self, sent: Path, landed: Path) -> None:
        """Raises RuntimeError unless every byte, and every answer of the loaded model, is the same."""
        if sent.read_bytes() != landed.read_bytes():
            raise RuntimeError(f"{landed} is not what was sent")
        one, other = self._answers(sent), self._answers(landed)
        if one.tobytes() != other.tobytes() or not np.isfinite(one).all():
            raise RuntimeError(f"{landed} answers otherwise than what was sent")

    def _answers(self, path: Path) -> npt.NDArray[np.float32]:
        ids, mask = self._asked
        match path.suffix:
            case ".onnx":
                session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
                (found,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
                return np.asarray(found, dtype=np.float32)
            case ".pt":
                weights = torch.load(path, weights_only=True)["model"]
            case _:
                weights = load_file(path)
        with torch.inference_mode():
            return np.asarray(bert.of(weights).eval()(ids, mask).numpy(), dtype=np.float32)
