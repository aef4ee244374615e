"""The only place where a hub's answers become the values that a job in the cloud gets, and its wishes references."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from modelsyncd.client.asking import Parent
from modelsyncd.client.model import Model
from modelsyncd.client.released import Ancestor, Release
from modelsyncd.digest import digest_of, to_text
from modelsyncd.exchange.manifests import usual_variant
from modelsyncd.exchange.places import usual_context
from modelsyncd.names import DEFAULT_CHANNEL, ModelRef, parse_ref
from modelsyncd.wire.nouns import decode_release
from modelsyncd.wire.v1 import catalog_pb2 as pb

FINE_TUNED = "fine-tuned-from"
Which = str | Model | Release
"""A release: by reference, or as it was got or told of."""


def context_of(target: str | Path | None) -> Path:
    """The context file of a target: "hub", "hub:PATH" or the path itself; without one the usual context."""
    text = str(target or "hub")
    path = text.removeprefix("hub").removeprefix(":") if text == "hub" or text.startswith("hub:") else text
    return Path(path) if path else usual_context()


def released(view: pb.ReleaseView) -> Release:
    """The release of a view. Raises BadInputError."""
    inner = decode_release(view.signed.release)
    ref = usual_variant(inner).manifest if inner.variants else None
    return Release(
        name=view.model,
        number=view.number,
        manifest=to_text(ref.digest) if ref is not None else "",
        release=to_text(digest_of(view.signed.release)),
        size=ref.content_size if ref is not None else 0,
        labels=dict(inner.labels),
        metrics=dict(inner.metrics),
        parents=tuple(Ancestor(str(one.model), one.number, one.role) for one in inner.parents),
        producer=inner.producer,
        note=inner.note,
        committed_at=view.committed_at,
        channels=tuple(view.channels),
    )


def exact(which: Which) -> str:
    """The words that name a release: of what was got or told of, that very one; a model alone is its channel stable."""
    if not isinstance(which, str):
        return f"{which.name}:{which.number}"
    return str(channelled(which))


def channelled(ref: str) -> ModelRef:
    """The reference; a model alone means its channel "stable", as at an agent. Raises InvalidNameError."""
    parsed = parse_ref(ref)
    if parsed.channel is None and parsed.number is None:
        return ModelRef(parsed.model, channel=DEFAULT_CHANNEL)
    return parsed


def origins(parents: Iterable[Parent | Release]) -> list[tuple[str, str]]:
    """Each parent's reference and role."""
    return [(exact(one[0]), one[1]) if isinstance(one, tuple) else (exact(one), FINE_TUNED) for one in parents]
