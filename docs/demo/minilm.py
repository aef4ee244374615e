"""all-MiniLM-L6-v2 in numpy: sentences in, unit vectors out, and a little training of its last layer.

The network is BERT's encoder with six layers (Devlin et al., 2019), mean pooling and normalisation, as the model's own
`modules.json` says. Small enough to read in a minute, and quick enough that the demo needs no deep-learning framework.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

Array = npt.NDArray[np.float32]
LAST = "encoder.layer.5.output"


@dataclass(frozen=True, slots=True)
class Shape:
    """What `config.json` says: layers, attention heads, and the epsilon of its layer norms."""

    layers: int
    heads: int
    epsilon: float


class MiniLM:
    """A loaded model. `folder` holds `model.safetensors`, `config.json` and `tokenizer.json`."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        self._shape = Shape(config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"])
        self._weights: dict[str, Array] = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_padding()
        self._tokenizer.enable_truncation(128)

    def embed(self, sentences: list[str]) -> Array:
        """Unit vectors of shape (sentences, 384)."""
        inner, residual, mask = self._before_last(sentences)
        return self._after_last(inner, residual, mask)[0]

    def similarity(self, one: str, other: str) -> float:
        """Cosine of the angle between two sentences' vectors: 1 means the same, 0 means nothing in common."""
        vectors = self.embed([one, other])
        return float(vectors[0] @ vectors[1])

    def save(self, folder: Path) -> None:
        """Writes the weights; the other files stay."""
        save_file(self._weights, folder / "model.safetensors", metadata={"format": "pt"})

    def train_last_layer(self, pairs: list[tuple[str, str]], steps: int = 20, rate: float = 0.05) -> list[float]:
        """Pulls the sentences of each pair together by gradient descent on the last layer's output; the losses.

        Only `encoder.layer.5.output` changes: 2.4 of the model's 90.9 MB.
        """
        left = self._before_last([one for one, _ in pairs])
        right = self._before_last([other for _, other in pairs])
        losses = []
        for _ in range(steps):
            one, back_one = self._after_last(*left)
            other, back_other = self._after_last(*right)
            losses.append(float(np.mean(1 - np.sum(one * other, axis=1))))
            share = np.float32(1 / len(pairs))
            slopes = [back_one(-other * share), back_other(-one * share)]
            for name in slopes[0]:
                self._weights[name] = self._weights[name] - np.float32(rate) * (slopes[0][name] + slopes[1][name])
        return losses

    # --- the network ---

    def _before_last(self, sentences: list[str]) -> tuple[Array, Array, Array]:
        """Everything up to the last layer's output: its input, its residual, and the mask of real tokens."""
        encoded = self._tokenizer.encode_batch(sentences)
        ids = np.array([item.ids for item in encoded])
        mask = np.array([item.attention_mask for item in encoded], dtype=np.float32)
        weights = self._weights
        x = weights["embeddings.word_embeddings.weight"][ids]
        x = x + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = x + weights["embeddings.token_type_embeddings.weight"][0]
        x = self._norm("embeddings.LayerNorm", x)
        for layer in range(self._shape.layers):
            name = f"encoder.layer.{layer}"
            attended = self._dense(f"{name}.attention.output.dense", self._attend(f"{name}.attention.self", x, mask))
            x = self._norm(f"{name}.attention.output.LayerNorm", attended + x)
            inner = _gelu(self._dense(f"{name}.intermediate.dense", x))
            if layer < self._shape.layers - 1:
                x = self._norm(f"{name}.output.LayerNorm", self._dense(f"{name}.output.dense", inner) + x)
        return inner, x, mask

    def _after_last(self, inner: Array, residual: Array, mask: Array) -> tuple[Array, Backward]:
        weights = self._weights
        x = self._dense(f"{LAST}.dense", inner) + residual
        spread = np.sqrt(x.var(axis=-1, keepdims=True) + self._shape.epsilon)
        normal = (x - x.mean(axis=-1, keepdims=True)) / spread
        out = normal * weights[f"{LAST}.LayerNorm.weight"] + weights[f"{LAST}.LayerNorm.bias"]
        share = (mask / mask.sum(axis=1, keepdims=True))[..., None]
        pooled = (out * share).sum(axis=1)
        length = np.linalg.norm(pooled, axis=1, keepdims=True)
        unit = pooled / length
        return unit, Backward(inner, normal, spread, share, unit, length, weights[f"{LAST}.LayerNorm.weight"])

    def _attend(self, name: str, x: Array, mask: Array) -> Array:
        batch, tokens, width = x.shape
        size = width // self._shape.heads

        def heads(part: str) -> Array:
            flat = self._dense(f"{name}.{part}", x)
            return flat.reshape(batch, tokens, self._shape.heads, size).transpose(0, 2, 1, 3)

        scores = heads("query") @ heads("key").transpose(0, 1, 3, 2) / np.float32(np.sqrt(size))
        scores = scores + (1 - mask)[:, None, None, :] * np.float32(-1e9)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ heads("value")
        return np.asarray(mixed.transpose(0, 2, 1, 3).reshape(batch, tokens, width), dtype=np.float32)

    def _dense(self, name: str, x: Array) -> Array:
        return np.asarray(x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"], dtype=np.float32)

    def _norm(self, name: str, x: Array) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(x.var(axis=-1, keepdims=True) + self._shape.epsilon)
        return np.asarray(scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Backward:
    """From the slope of a loss over the unit vectors to the slopes of the last layer's four tensors."""

    inner: Array
    normal: Array
    spread: Array
    share: Array
    unit: Array
    length: Array
    gain: Array

    def __call__(self, slope: Array) -> dict[str, Array]:
        """`slope` has the vectors' shape."""
        pooled = (slope - self.unit * np.sum(slope * self.unit, axis=1, keepdims=True)) / self.length
        out = pooled[:, None, :] * self.share
        scaled = out * self.gain
        middle = scaled.mean(axis=-1, keepdims=True)
        along = self.normal * (scaled * self.normal).mean(axis=-1, keepdims=True)
        x = (scaled - middle - along) / self.spread
        return {
            f"{LAST}.dense.weight": np.einsum("btd,bti->di", x, self.inner).astype(np.float32),
            f"{LAST}.dense.bias": x.sum(axis=(0, 1)),
            f"{LAST}.LayerNorm.weight": (out * self.normal).sum(axis=(0, 1)),
            f"{LAST}.LayerNorm.bias": out.sum(axis=(0, 1)),
        }


def _gelu(x: Array) -> Array:
    """Gaussian error linear unit, by the error function's approximation 7.1.26 of Abramowitz and Stegun."""
    z = np.abs(x) / np.float32(np.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    erf = np.sign(x) * (1 - series * np.exp(-z * z))
    return np.asarray(x * (1 + erf) / 2, dtype=np.float32)
