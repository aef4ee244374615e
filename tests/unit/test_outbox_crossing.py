"""In one session a manifest goes one way at a time."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from edge_agent.outbox.crossing import Crossing
from modelsyncd.digest import Digest
from modelsyncd.link.pump import Pump
from modelsyncd.release import SignedRelease
from modelsyncd.session.frames import Offer
from modelsyncd.session.progress import Progress

ONE, TWO = (Digest(bytes([number]) * 32) for number in (1, 2))


class Asked:
    """A pump that notes what it is asked."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def take(self, offer: Offer, priority: int, *, gated: bool) -> None:
        self.said.append(f"take {offer.manifest[0]} {priority} {gated}")

    def drop(self, manifests: Collection[Digest]) -> None:
        self.said += [f"drop {manifest[0]}" for manifest in manifests]

    def progress(self, _manifest: Digest) -> Progress:
        return Progress(total=10)


def offer(manifest: Digest) -> Offer:
    return Offer(SignedRelease(b""), manifest)


def test_what_is_offered_is_fetched_once_the_offer_is_over() -> None:
    asked, offered = Asked(), {ONE}
    crossing = Crossing(cast("Pump", asked), lambda: offered)
    crossing.take(offer(ONE), 3, gated=True)
    crossing.take(offer(TWO))
    assert (asked.said, crossing.taking, crossing.progress(ONE)) == (["take 2 0 False"], {TWO}, Progress())
    crossing.resume()
    offered.clear()
    assert not crossing.finished(ONE)
    crossing.resume()
    assert (asked.said[1:], crossing.taking, crossing.progress(ONE)) == (["take 1 3 True"], {ONE, TWO}, Progress(10))
    assert crossing.finished(TWO)
    assert crossing.taking == {ONE}


def test_what_is_dropped_while_it_waits_is_never_fetched() -> None:
    asked, offered = Asked(), {ONE}
    crossing = Crossing(cast("Pump", asked), lambda: offered)
    crossing.take(offer(ONE))
    crossing.drop([ONE])
    offered.clear()
    crossing.resume()
    assert asked.said == []
    crossing.take(offer(ONE))
    crossing.drop([ONE])
    assert asked.said == ["take 1 0 False", "drop 1"]
