"""The only place that knows LoRA: a low-rank addition to some matrices, trained alone and merged into them."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn.utils import parametrize

from benchmarks.bytes import bert, training

RANK = 8
ALPHA = 16
RATE = 2e-4  # ten times a full fine-tune's, as is usual


class Addition(nn.Module):
    """What is added to one matrix: `up @ down`, scaled; nothing at first (Hu et al., 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(RANK, bert.HIDDEN))
        self.up = nn.Parameter(torch.zeros(bert.HIDDEN, RANK))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The merged matrix."""
        return weight + self.up @ self.down * (ALPHA / RANK)


def begin(weights: training.Weights, tokenizer: Tokenizer, text: list[tuple[str, str]], *, seed: int) -> training.Run:
    """A training of additions to query and value of each layer, and of nothing else."""
    torch.manual_seed(seed)
    model = bert.of(weights).requires_grad_(False)
    for layer in _adapted(model):
        parametrize.register_parametrization(layer, "weight", Addition())
    return training.Run(model, tokenizer, text, training.adamw(model, RATE))


def merge(run: training.Run) -> training.Weights:
    """The weights with the additions in them, named as before; the run ends here."""
    for layer in _adapted(run.model):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return run.weights()


def _adapted(model: bert.MiniLM) -> list[nn.Linear]:
    attentions = [layer.attention["self"] for layer in model.encoder["layer"]]
    return [part for attention in attentions for part in (attention.query, attention.value)]
