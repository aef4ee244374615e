"""The only place that makes the pairs' files: each training once, each file written whole and then named."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from benchmarks.bytes import graph, low_rank, text, training
from benchmarks.bytes.pairs import BY_NAME

SHORT, NEAR, LONG = 20, 280, 300  # steps
CLIENTS, LOCAL = 3, 50  # federated: clients, and steps of each
NEW_WORDS, EXTENDED = 256, 60  # the vocabulary: words, and steps of the embeddings alone
LAST_LAYERS = ("encoder.layer.4.", "encoder.layer.5.")

Write = Callable[[Path], None]


class Making:
    """Makes what is missing in `folder`. `model` is the folder of the shipped model."""

    def __init__(self, model: Path, folder: Path) -> None:
        torch.set_num_threads(training.THREADS)
        self._folder = folder
        self._shipped: training.Weights = load_file(model / "model.safetensors")
        self._model = model
        self._text = text.pairs(seed=1)
        self._began = time.monotonic()

    def all(self) -> None:
        """Every pair; those that are there already cost nothing."""
        for made, names in (
            (
                self._full,
                "fp32-20 bf16-20 fp16-20 fp32-300 bf16-300 fp16-300 first-fp32 first-bf16 checkpoint checkpoint-near",
            ),
            (self._low_rank, "lora-fp32 lora-bf16"),
            (self._vocabulary, "vocabulary"),
            (self._onnx, "onnx-fp32-300 onnx-int8-300 safetensors-to-onnx first-int8"),
            (self._last_layers, "last-two-layers"),
            (self._federated, "federated-up federated-down"),
        ):
            if not all(BY_NAME[name].there(self._folder) for name in names.split()):
                made()

    def _full(self) -> None:
        """Every weight moves; the casts are of the same two models."""
        run = self._begin(seed=2)
        run.until(SHORT, self._say)
        first = partial(_checkpoint, run.weights(), _copied(run.optimiser.state_dict()), run.step)
        self._casts(run.weights(), str(SHORT))
        self._pair("checkpoint", first, None)
        run.until(NEAR, self._say)
        before = partial(_checkpoint, run.weights(), _copied(run.optimiser.state_dict()), run.step)
        self._pair("checkpoint-near", before, None)
        run.until(LONG, self._say)
        self._casts(run.weights(), str(LONG))
        self._pair("first-fp32", None, _saved(run.weights()))
        self._pair("first-bf16", None, _saved(run.weights(), torch.bfloat16))
        last = partial(_checkpoint, run.weights(), run.optimiser.state_dict(), run.step)
        self._pair("checkpoint", None, last)
        self._pair("checkpoint-near", None, last)

    def _casts(self, new: training.Weights, steps: str) -> None:
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
            self._pair(f"{name}-{steps}", _saved(self._shipped, dtype), _saved(new, dtype))

    def _last_layers(self) -> None:
        run = self._begin(seed=3, only=lambda name: name.startswith(LAST_LAYERS))
        run.until(LONG, self._say)
        self._pair("last-two-layers", _saved(self._shipped), _saved(run.weights()))

    def _low_rank(self) -> None:
        run = low_rank.begin(self._shipped, training.tokenizer_of(self._model), self._text, seed=4)
        run.until(LONG, self._say)
        merged = low_rank.merge(run)
        for name, dtype in (("lora-fp32", torch.float32), ("lora-bf16", torch.bfloat16)):
            self._pair(name, _saved(self._shipped, dtype), _saved(merged, dtype))

    def _vocabulary(self) -> None:
        """Words of the text that the vocabulary lacks, each beginning as the mean of the pieces it was cut in."""
        tokenizer = training.tokenizer_of(self._model)
        words = text.frequent_words(self._text, set(tokenizer.get_vocab()), NEW_WORDS)
        name = "embeddings.word_embeddings.weight"
        old = self._shipped[name]
        pieces = [tokenizer.encode(word, add_special_tokens=False).ids for word in words]
        rows = torch.stack([old[ids].mean(0) for ids in pieces])
        tokenizer.add_tokens(words)
        weights = {**self._shipped, name: torch.cat([old, rows])}
        run = training.begin(
            weights, tokenizer, self._text, seed=5, only=lambda parameter: parameter == name, decay=0.0
        )
        run.until(EXTENDED, self._say)
        self._pair("vocabulary", _saved(self._shipped), _saved(run.weights()))

    def _onnx(self) -> None:
        trained: training.Weights = load_file(BY_NAME["fp32-300"].new(self._folder))
        old, new = partial(graph.write, self._shipped), partial(graph.write, trained)
        self._pair("onnx-fp32-300", old, new)
        pair = BY_NAME["onnx-fp32-300"]
        old_path, new_path = pair.old(self._folder), pair.new(self._folder)
        assert old_path is not None  # noqa: S101
        quantised = partial(graph.quantise, new_path)
        self._pair("onnx-int8-300", partial(graph.quantise, old_path), quantised)
        self._pair("first-int8", None, quantised)
        self._pair("safetensors-to-onnx", _saved(trained), new)

    def _federated(self) -> None:
        """Each client trains on a part of the text; the new global model is the mean of theirs."""
        clients = []
        for number in range(CLIENTS):
            run = training.begin(
                self._shipped, training.tokenizer_of(self._model), self._text[number::CLIENTS], seed=10 + number
            )
            run.until(LOCAL, self._say)
            clients.append(run.weights())
        self._pair("federated-up", _saved(self._shipped), _saved(clients[0]))
        mean = {
            name: torch.stack([client[name] for client in clients]).mean(0) if value.is_floating_point() else value
            for name, value in self._shipped.items()
        }
        self._pair("federated-down", _saved(self._shipped), _saved(mean))

    def _begin(self, *, seed: int, only: Callable[[str], bool] = lambda _: True) -> training.Run:
        return training.begin(self._shipped, training.tokenizer_of(self._model), self._text, seed=seed, only=only)

    def _pair(self, name: str, old: Write | None, new: Write | None) -> None:
        """Writes one or both of its files."""
        pair = BY_NAME[name]
        folder = pair.new(self._folder).parent
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "peers.json").unlink(missing_ok=True)  # what was measured of the files before
        base = pair.old(self._folder) or pair.new(self._folder)
        for path, write in ((base, old), (pair.new(self._folder), new)):
            if write is not None:
                part = path.with_name(f"part{path.suffix}")
                write(part)
                part.replace(path)
        self._say(f"{name}: written")

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:6.0f} s  {what}", flush=True)


def _saved(weights: training.Weights, dtype: torch.dtype = torch.float32) -> Write:
    """Writes safetensors, with floats in this dtype."""

    def write(path: Path) -> None:
        cast = {name: value.to(dtype) if value.is_floating_point() else value for name, value in weights.items()}
        save_file({name: value.contiguous() for name, value in cast.items()}, path, metadata={"format": "pt"})

    return write


def _checkpoint(weights: training.Weights, optimiser: dict[str, object], step: int, path: Path) -> None:
    torch.save({"model": weights, "optimizer": optimiser, "step": step}, path)


def _copied(state: dict[str, object]) -> dict[str, object]:
    """An optimiser's state that later steps don't change."""
    parts = state["state"]
    assert isinstance(parts, dict)  # noqa: S101
    kept = {key: {name: _clone(value) for name, value in part.items()} for key, part in parts.items()}
    return {**state, "state": kept}


def _clone(value: object) -> object:
    return value.clone() if isinstance(value, torch.Tensor) else value
