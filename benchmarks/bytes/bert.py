"""The only place that is all-MiniLM-L6-v2 in torch: BERT's encoder with six layers, whose tensors are named as shipped.

Only what a sentence embedding needs (Devlin et al., 2019), and the pooler, which the file carries and nobody uses.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

HIDDEN = 384
HEADS = 12
LAYERS = 6
INNER = 4 * HIDDEN
POSITIONS = 512
EPSILON = 1e-12
DROPOUT = 0.1


class Embeddings(nn.Module):
    """Ids of tokens in, vectors out."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(words, HIDDEN)
        self.position_embeddings = nn.Embedding(POSITIONS, HIDDEN)
        self.token_type_embeddings = nn.Embedding(2, HIDDEN)
        self.LayerNorm = nn.LayerNorm(HIDDEN, eps=EPSILON)
        self.register_buffer("position_ids", torch.arange(POSITIONS).unsqueeze(0))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(batch, tokens) to (batch, tokens, hidden)."""
        places = self.position_ids[:, : ids.shape[1]]
        kinds = torch.zeros_like(ids)
        x = self.word_embeddings(ids) + self.position_embeddings(places) + self.token_type_embeddings(kinds)
        return self.dropout(self.LayerNorm(x))


class Attend(nn.Module):
    """The attention of one layer, before its output."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(HIDDEN, HIDDEN)
        self.key = nn.Linear(HIDDEN, HIDDEN)
        self.value = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`mask` is true where a token is real."""
        shape = (x.shape[0], x.shape[1], HEADS, HIDDEN // HEADS)
        query, key, value = (part(x).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
        chance = DROPOUT if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, mask[:, None, None, :], dropout_p=chance)
        return mixed.transpose(1, 2).reshape(x.shape)


class Output(nn.Module):
    """Dense, and the norm of that and what went in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, HIDDEN)
        self.LayerNorm = nn.LayerNorm(HIDDEN, eps=EPSILON)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, inner: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """Of the residual's shape."""
        return self.LayerNorm(self.dropout(self.dense(inner)) + residual)


class Dense(nn.Module):
    """One dense layer, below a name of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(HIDDEN, width)


class Layer(nn.Module):
    """One of the six."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": Attend(), "output": Output(HIDDEN)})
        self.intermediate = Dense(INNER)
        self.output = Output(INNER)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, hidden) to the same."""
        x = self.attention["output"](self.attention["self"](x, mask), x)
        return self.output(functional.gelu(self.intermediate.dense(x)), x)


class MiniLM(nn.Module):
    """Ids and a mask in, unit vectors out."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embeddings = Embeddings(words)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer() for _ in range(LAYERS))})
        self.pooler = Dense(HIDDEN)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, tokens) twice, the mask 1 where a token is real, to (batch, hidden)."""
        x = self.embeddings(ids)
        for layer in self.encoder["layer"]:
            x = layer(x, mask.bool())
        share = mask.to(x.dtype).unsqueeze(-1)
        return functional.normalize((x * share).sum(1) / share.sum(1), dim=1)


def of(state: dict[str, torch.Tensor]) -> MiniLM:
    """The model with these weights, in fp32 whatever they are in."""
    made = MiniLM(state["embeddings.word_embeddings.weight"].shape[0])
    made.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in state.items()})
    return made
