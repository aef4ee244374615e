"""The only place that makes an outbox item into what is said to a hub: an offer, and a giver of its chunks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_agent.outbox.lineage import Lineage, local_base
from edge_agent.outbox.papers import Paper
from edge_agent.outbox.rest import Rest
from modelsyncd.digest import digest_of
from modelsyncd.errors import ModelsyncError
from modelsyncd.release import Release, SignedRelease
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Offer
from modelsyncd.wire.nouns import encode_release

if TYPE_CHECKING:
    from modelsyncd.exchange.source_giver import SourceGiver


@dataclass(frozen=True, slots=True)
class Offering:
    """An item as it is offered; `release` but for its number. `guess` is a number to begin with."""

    paper: Paper
    release: Release
    giver: SourceGiver
    guess: int

    def offer(self, number: int) -> Offer:
        """What to say."""
        signed = SignedRelease(encode_release(replace(self.release, number=number)))
        return Offer(signed, self.paper.manifest, self.paper.publication.channel, self.paper.offer_id)

    def made(self, settled: Settled) -> bool:
        """Whether this item became that release: also when the answer to the try that did it was lost."""
        ours = encode_release(replace(self.release, number=settled.number))
        return settled.created or settled.release_digest == digest_of(ours)


def offering(paper: Paper, rest: Rest, lineage: Lineage, producer: str) -> Offering:
    """Blocks. Raises DamageError when the item is not as it was stored, DiskError."""
    # Here, because most nodes publish nothing and need none of this.
    from modelsyncd.exchange.source_giver import SourceGiver  # noqa: PLC0415

    data = rest.manifest_bytes(paper)
    release = paper.release(data, 1, producer)
    content = local_base(rest.content(paper.id), paper.manifest, data).source
    model = paper.publication.model
    bases = lineage.bases(model, paper.parents, paper.manifest)
    for sent in reversed(rest.sent):  # what this node published a while ago, and does not follow
        if sent.manifest not in {paper.manifest, *(one.name for one in bases)}:
            try:
                bases.append(local_base(rest.content(sent.id), sent.manifest, rest.manifest_bytes(sent)))
            except ModelsyncError:
                continue
    giver = SourceGiver(paper.manifest, data, content, bases)
    return Offering(paper, release, giver, lineage.next_number(model))
