"""The only list of what a release can be found by; docs/query.md is written from it.

A word that is not in the list is a label: `task = helmet` is short for `labels.task = helmet`. A name with more than
letters, digits and `_` in it is put in quotes: `labels."made by" = ann`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What the values of a field are."""

    TEXT = "text"
    COUNT = "count"
    BYTES = "size"
    TIME = "time"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Meaning:
    """A field's kind, and what it says of a release."""

    kind: Kind
    says: str


FIELDS = {
    "model": Meaning(Kind.TEXT, "the model: acme/helmet"),
    "namespace": Meaning(Kind.TEXT, "the part of the model's name before the /"),
    "name": Meaning(Kind.TEXT, "the part of the model's name after the /"),
    "number": Meaning(Kind.COUNT, "the release's number: 3 of acme/helmet:3"),
    "channel": Meaning(Kind.TEXT, "the channels that name it now"),
    "created": Meaning(Kind.TIME, "when it was made, by its publisher's clock"),
    "producer": Meaning(Kind.TEXT, "who published it: admin/ann, node/oslo"),
    "note": Meaning(Kind.TEXT, "the sentence that was published with it"),
    "size": Meaning(Kind.BYTES, "bytes of its files; of any of its variants"),
    "files": Meaning(Kind.COUNT, "how many files it has; any of its variants"),
    "variant": Meaning(Kind.TEXT, "the names of its variants"),
    "format": Meaning(Kind.TEXT, "what its files are: safetensors, onnx, gguf, pytorch, …"),
    "framework": Meaning(Kind.TEXT, "what loads it: pytorch, onnx, tensorflow, llama.cpp, …"),
    "architecture": Meaning(Kind.TEXT, "what its files call themselves: bert, llama, …"),
    "parameters": Meaning(Kind.COUNT, "elements of its tensors; of any of its variants"),
    "tensors": Meaning(Kind.COUNT, "how many tensors it has; any of its variants"),
    "dtype": Meaning(Kind.TEXT, "the types of its tensors' elements: f32, bf16, i8, …"),
    "input": Meaning(Kind.TEXT, "the names of what goes in, where the format tells"),
    "output": Meaning(Kind.TEXT, "the names of what comes out, where the format tells"),
    "licence": Meaning(Kind.TEXT, "its licence, as its model card says it"),
    "dataset": Meaning(Kind.TEXT, "what it was trained on"),
    "tag": Meaning(Kind.TEXT, "its tags"),
    "parent": Meaning(Kind.TEXT, "what it came from: acme/helmet, and acme/helmet:3"),
    "member": Meaning(Kind.TEXT, "what a bundle was put together from, in the same two forms"),
    "recipe": Meaning(Kind.TEXT, "the recipe that it was derived by"),
}
ALIASES = {"license": "licence", "params": "parameters"}
FAMILIES = {"labels": Kind.TEXT, "metrics": Kind.NUMBER}


def full_name(name: str) -> str:
    """The field that a word means: itself, what it is an alias of, or the label of that name."""
    name = ALIASES.get(name, name)
    return name if name in FIELDS or name.partition(".")[0] in FAMILIES else f"labels.{name}"


def kind_of(name: str) -> Kind:
    """The kind of a field's values; `name` in full."""
    known = FIELDS.get(name)
    return known.kind if known is not None else FAMILIES[name.partition(".")[0]]


def nearest(word: str) -> list[str]:
    """Fields that somebody may have meant by a label's name that no release has."""
    return difflib.get_close_matches(word, [*FIELDS, *ALIASES], n=2, cutoff=0.75)
