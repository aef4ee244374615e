"""A hub that only says words: it judges offers as a real one does, takes no byte, and answers when the test says so."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_agent.outbox.box import NodeOutbox
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import ModelsyncError, NumberTakenError, RefusedError
from modelsyncd.names import ModelName
from modelsyncd.release import Release
from modelsyncd.session.effects import Finished
from modelsyncd.session.events import Settled
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import Frame, Offer
from modelsyncd.session.progress import Progress
from modelsyncd.wire.nouns import decode_release


@dataclass
class HubOfWords:
    """`releases` of each model in the order of their numbers, as (manifest, digest of the release)."""

    releases: dict[ModelName, list[tuple[Digest, Digest]]] = field(default_factory=dict)
    channels: dict[tuple[ModelName, str], int] = field(default_factory=dict)
    barred: set[ModelName] = field(default_factory=set)
    carried_out: dict[bytes, int] = field(default_factory=dict)
    """Numbers that offers became, by their ids."""
    offers: list[Offer] = field(default_factory=list)
    """What was offered in this session and not answered."""
    outbox: NodeOutbox | None = None

    # --- what a session's pump does ---

    def say(self, frame: Frame) -> None:
        assert isinstance(frame, Offer)
        assert all(frame.manifest != offer.manifest for offer in self.offers), "offered twice at once"
        self.offers.append(frame)

    def progress(self, manifest: Digest) -> Progress:
        return Progress(total=10, done=5, wire=3)

    # --- what a test does ---

    def connect(self, outbox: NodeOutbox) -> None:
        self.outbox = outbox
        self.offers.clear()
        outbox.attach(self, lambda: ())

    def cut(self) -> None:
        if self.outbox is not None:
            self.outbox.detach()
        self.offers.clear()

    def answer(self, index: int = 0) -> None:
        """Takes an offer and says so."""
        assert self.outbox is not None
        offer = self.offers.pop(index)
        try:
            end = Finished(offer.manifest, self.commit(offer), None, Progress(wire=10))
        except ModelsyncError as error:
            end = Finished(offer.manifest, None, fault_of(error), Progress())
        assert self.outbox.finished(end)

    def commit(self, offer: Offer) -> Settled:
        """As the real one: the same content is there already, the number must be the next one."""
        release = decode_release(offer.release.release)
        if release.model in self.barred:
            raise RefusedError(f"no right to publish {release.model}")
        known = self.releases.setdefault(release.model, [])
        if offer.id in self.carried_out:
            number = self.carried_out[offer.id]
            return Settled(number, created=False, release_digest=known[number - 1][1])
        settled = self._settle(offer, release, known)
        if offer.id:
            self.carried_out[offer.id] = settled.number
        return settled

    def _settle(self, offer: Offer, release: Release, known: list[tuple[Digest, Digest]]) -> Settled:
        for number, (manifest, digest) in enumerate(known, 1):
            if manifest == offer.manifest:
                return Settled(number, created=False, release_digest=digest)
        if release.number != len(known) + 1:
            free = f"{release.model}:{len(known) + 1}"
            raise NumberTakenError(
                "this number is not the next one", hint=f"publish it as {free}", next_number=len(known) + 1
            )
        digest = digest_of(offer.release.release)
        known.append((offer.manifest, digest))
        if offer.channel:
            self.channels[release.model, offer.channel] = release.number
        return Settled(release.number, created=True, release_digest=digest)

    def intrude(self, model: ModelName) -> None:
        """Somebody else publishes."""
        known = self.releases.setdefault(model, [])
        made = digest_of(f"{model} {len(known)}".encode())
        known.append((made, made))
