"""The only place that lists the pairs: a model, its update, and the share of its size that the update may cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pair:
    """One row of the table. `goal` is a share of the new file's size; `up`: it travels from a node to the hub."""

    name: str
    title: str
    suffix: str
    goal: float
    first: bool = False
    up: bool = False
    old_suffix: str = ""  # where it is another one

    def old(self, folder: Path) -> Path | None:
        """The base, None for a first push."""
        return None if self.first else folder / self.name / f"old{self.old_suffix or self.suffix}"

    def new(self, folder: Path) -> Path:
        """What is to be sent."""
        return folder / self.name / f"new{self.suffix}"

    def there(self, folder: Path) -> bool:
        """Whether it was made before: the new file is written last and under its name when whole."""
        return self.new(folder).exists()


_SAFE = ".safetensors"

PAIRS = (
    Pair("fp32-20", "full fine-tune fp32, 20 steps", _SAFE, 0.265),
    Pair("fp32-300", "full fine-tune fp32, 300 steps", _SAFE, 0.33),
    Pair("bf16-20", "the same in bf16, 20 steps", _SAFE, 0.058),
    Pair("bf16-300", "the same in bf16, 300 steps", _SAFE, 0.12),
    Pair("fp16-20", "the same in fp16, 20 steps", _SAFE, 0.135),
    Pair("fp16-300", "the same in fp16, 300 steps", _SAFE, 0.225),
    Pair("last-two-layers", "last two layers, 300 steps", _SAFE, 0.102),
    Pair("lora-fp32", "LoRA merged, fp32", _SAFE, 0.006),
    Pair("lora-bf16", "LoRA merged, bf16", _SAFE, 0.012),
    Pair("vocabulary", "vocabulary extended, embeddings only", _SAFE, 0.021),
    Pair("onnx-fp32-300", "ONNX fp32, 300 steps", ".onnx", 0.33),
    Pair("onnx-int8-300", "ONNX dynamic int8, 300 steps", ".onnx", 0.031),
    Pair("safetensors-to-onnx", "safetensors → ONNX of the same weights", ".onnx", 0.001, old_suffix=_SAFE),
    Pair("checkpoint", "PyTorch checkpoint with optimiser state, 20 to 300 steps", ".pt", 0.36),
    Pair("checkpoint-near", "the same, 280 to 300 steps", ".pt", 0.36),
    Pair("federated-up", "federated: a client's upload", _SAFE, 0.28, up=True),
    Pair("federated-down", "federated: the new global model to a client", _SAFE, 0.29),
    Pair("first-fp32", "first push, fp32", _SAFE, 0.82, first=True),
    Pair("first-bf16", "first push, bf16", _SAFE, 0.67, first=True),
    Pair("first-int8", "first push, ONNX int8", ".onnx", 0.64, first=True),
)
BY_NAME = {pair.name: pair for pair in PAIRS}
