"""The only place that trains: AdamW on a contrastive loss over sentences and their successors, from fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from benchmarks.bytes import bert

RATE = 2e-5
DECAY = 0.01
BATCH = 8  # pairs, so 16 sentences
TOKENS = 64
SCALE = 20.0  # one over the temperature, as sentence-transformers has it
THREADS = 2

Weights = dict[str, torch.Tensor]


@dataclass
class Run:
    """One training: the model, its optimiser, and how far it is."""

    model: bert.MiniLM
    tokenizer: Tokenizer
    text: list[tuple[str, str]]
    optimiser: torch.optim.Optimizer
    step: int = 0
    loss: float = 0.0

    def until(self, step: int, say: Callable[[str], None]) -> None:
        """Trains on until so many steps are done."""
        self.model.train()
        while self.step < step:
            first = self.step * BATCH % (len(self.text) - BATCH)
            self.loss = self._one(self.text[first : first + BATCH])
            self.step += 1
            if self.step % 20 == 0:
                say(f"step {self.step}, loss {self.loss:.3f}")
        self.model.eval()

    def weights(self) -> Weights:
        """A copy of what the model holds now."""
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def _one(self, batch: list[tuple[str, str]]) -> float:
        """Each sentence should be nearest to its own successor among those of the batch."""
        one = self.model(*tokens(self.tokenizer, [left for left, _ in batch]))
        other = self.model(*tokens(self.tokenizer, [right for _, right in batch]))
        loss = functional.cross_entropy(one @ other.T * SCALE, torch.arange(len(batch)))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())


def begin(
    weights: Weights,
    tokenizer: Tokenizer,
    text: list[tuple[str, str]],
    *,
    seed: int,
    only: Callable[[str], bool] = lambda _: True,
    decay: float = DECAY,
) -> Run:
    """A training from these weights; parameters whose name is not wanted by `only` stay as they are."""
    torch.manual_seed(seed)
    model = bert.of(weights)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(only(name))
    return Run(model, tokenizer, text, adamw(model, RATE, decay))


def adamw(model: bert.MiniLM, rate: float, decay: float = DECAY) -> torch.optim.Optimizer:
    """Everybody's optimiser, with a constant rate, over what is to be trained."""
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate, weight_decay=decay)


def tokens(tokenizer: Tokenizer, sentences: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask."""
    encoded = tokenizer.encode_batch(sentences)
    ids = torch.tensor([item.ids for item in encoded])
    return ids, torch.tensor([item.attention_mask for item in encoded])


def tokenizer_of(folder: Path) -> Tokenizer:
    """The model's own, cut at `TOKENS`."""
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.enable_padding()
    made.enable_truncation(TOKENS)
    return made
