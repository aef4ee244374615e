"""A release in several variants, as whoever publishes it offers them: one publication for each, of one release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from modelsyncd.names import parse_model
from modelsyncd.release import Derivation, Release, SignedRelease, Variant
from modelsyncd.wire.nouns import encode_release
from tests.fakes.publisher import STEP, Publication, publication, weights


@dataclass(frozen=True)
class Form:
    """What one variant is: content that its seed says, and whom it is for."""

    seed: int
    selector: Mapping[str, str] = field(default_factory=dict)
    chunks: int = 3
    derivation: Derivation | None = None

    def content(self) -> bytes:
        return weights(self.seed, self.chunks * STEP - 7)


def in_forms(
    forms: Mapping[str, Form],
    number: int = 1,
    *,
    channel: str = "",
    producer: str = "admin/tester",
    wish: bytes = b"",
) -> list[Publication]:
    """One release of acme/helmet, as publications of its variants in their order."""
    alone = [publication({"model.bin": form.content()}, number=number) for form in forms.values()]
    variants = tuple(
        Variant(name, each.ref(), form.selector, form.derivation)
        for (name, form), each in zip(forms.items(), alone, strict=True)
    )
    release = Release(parse_model("acme/helmet"), number, variants, producer=producer, created_at=1)
    signed = SignedRelease(encode_release(release))
    return [
        replace(each, release=release, offer=replace(each.offer, release=signed, channel=channel, id=wish))
        for each in alone
    ]
