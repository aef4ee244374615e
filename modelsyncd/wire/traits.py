"""The only place where a trait, by which a release is found, is written for the wire and read back."""

from __future__ import annotations

from modelsyncd.query.traits import Trait
from modelsyncd.wire.v1 import search_pb2


def trait_to_pb(trait: Trait) -> search_pb2.Trait:
    """For the wire."""
    if isinstance(trait.value, str):
        return search_pb2.Trait(key=trait.key, variant=trait.variant, text=trait.value)
    return search_pb2.Trait(key=trait.key, variant=trait.variant, number=trait.value)


def trait_from_pb(message: search_pb2.Trait) -> Trait:
    """From the wire."""
    value = message.text if message.WhichOneof("value") == "text" else message.number
    return Trait(message.key, value, message.variant)
