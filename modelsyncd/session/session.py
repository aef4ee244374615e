"""One conversation, whole: the only place where events of any kind become effects.

Law 1: no I/O, no clock, no randomness; `now` is handed in, and an event's effects depend on nothing but what was
stepped before. Law 2: an error of one transfer ends that transfer; only a peer that breaks the protocol, or is silent
while it owes us chunks, ends the session. Law 3: the end of the stream means nothing; only Settle settles.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf

from modelsyncd.digest import Digest
from modelsyncd.errors import ModelsyncError, NoProgressError, ProtocolError, RefusedError, WrongProtocolError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.session import frames as words
from modelsyncd.session.effects import Deliver, Effect, Finished, HangUp, Send, WakeAt
from modelsyncd.session.events import (
    Close,
    Completed,
    Considered,
    Drop,
    Event,
    Failed,
    Go,
    Kept,
    Loaded,
    LoadFailed,
    Pace,
    Received,
    Say,
    Settled,
    Spoiled,
    Surveyed,
    Take,
    Woke,
    Worked,
)
from modelsyncd.session.faults import fault_of
from modelsyncd.session.giver import Giver
from modelsyncd.session.grants import Grants
from modelsyncd.session.progress import Progress
from modelsyncd.session.recall import Recall
from modelsyncd.session.taker import STRAY_BYTES, Taker
from modelsyncd.session.window import Window

PATIENCE = 60.0  # seconds without a step forward by a peer that owes us something
TRICKLE = 1_024  # payload bytes that are a step forward; fewer are one only when they finish a chunk


class Session:
    """Our side of a conversation. `start` once, then `step` for everything that happens; not thread-safe."""

    def __init__(
        self,
        hello: words.Hello,
        *,
        window: Window | None = None,
        patience: float = PATIENCE,
        frame_bytes: int = 0,
        limits: Limits = LIMITS,
        recall: Recall | None = None,
    ) -> None:
        self.peer: words.Hello | None = None
        """What the peer said of itself, once it did."""
        self.frame_bytes = frame_bytes
        """Largest payload that we ask for in one Give, in bytes; 0: as the rate is. May change at any time."""
        self._hello = hello
        self._grants = Grants(window or Window(), limits, recall)
        self._patience = patience
        self._limits = limits
        self._takers: dict[Digest, Taker] = {}
        self._giver = Giver(limits=limits)
        self._offered: set[Digest] = set()
        self._moved = 0.0
        self._trickle = 0
        self._alarm: float | None = None
        self._over = False
        self._serial = 0
        self._stray_bytes = 0

    def start(self, now: float) -> list[Effect]:
        """What to do before anything has happened."""
        self._moved = now
        self._grants.start(now)
        return [Send(self._hello), *self._watch(now)]

    def widen(self, lanes: int) -> None:
        """So many connections carry chunks from now on."""
        self._grants.widen(lanes)

    def is_taking(self, manifest: Digest, serial: int) -> bool:
        """Whether this very transfer is under way: false once it was dropped, also when it was begun again."""
        taker = self._takers.get(manifest)
        return taker is not None and taker.serial == serial

    def is_pricing(self, serial: int) -> bool:
        """Whether the answer to this Price is still waited for."""
        return self._giver.is_pricing(serial)

    def progress(self, manifest: Digest) -> Progress:
        """How far a transfer has come; all zeros for one that is not under way."""
        taker = self._takers.get(manifest)
        return taker.progress if taker is not None else self._giver.progress(manifest)

    @property
    def kept_bytes(self) -> int:
        """Plain bytes that became durable here since the session began."""
        return self._grants.kept_bytes

    @property
    def awaits(self) -> bool:
        """Whether the peer owes us chunks."""
        return any(taker.awaits for taker in self._takers.values())

    def step(self, event: Event, now: float) -> list[Effect]:
        """What to do now that this has happened. Never raises for anything that a peer can say."""
        if self._over:
            return []
        owed = self._owed
        try:
            effects = self._dispatch(event, now)
        except ModelsyncError as error:
            return self._hang_up(error)
        effects += self._grant(now)
        if not owed and self._owed:
            self._moved = now  # the peer owed nothing: its time begins with what was asked for now
        return effects + self._watch(now)

    # --- events ---

    def _dispatch(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Received(frame):
                return self._received(frame, now)
            case Say(frame):
                if isinstance(frame, words.Offer):
                    self._offered.add(frame.manifest)
                return [Send(frame)]
            case Take():
                return self._take(event)
            case Go(manifest, allowance):
                taker = self._takers.get(manifest)
                return taker.go(allowance) if taker is not None else []
            case Pace():
                self._grants.pace(event, now)
                return []
            case Drop(manifests):
                return self._dropped(manifests)
            case Loaded():
                return self._giver.loaded(event)
            case LoadFailed():
                return self._load_failed(event)
            case Worked():
                return self._giver.worked(event)
            case Close(fault):
                self._over = True
                farewell: list[Effect] = [Send(words.Refuse(fault))] if fault is not None else []
                return [*farewell, HangUp(fault)]
            case Woke():
                return self._woke(now)
            case _:
                return self._taking(event, now)

    def _taking(self, event: Considered | Surveyed | Kept | Spoiled | Completed | Failed, now: float) -> list[Effect]:
        """An answer of our own store, for a transfer that may be gone meanwhile."""
        taker = self._takers.get(event.manifest)
        if taker is None or taker.serial != event.serial:
            return []
        try:
            match event:
                case Considered():
                    return taker.survey() if event.settled is None else self._settled(event.manifest, event.settled)
                case Completed():
                    return self._settled(event.manifest, event.settled)
                case Surveyed():
                    taker.quotes = self.peer is not None and words.Feature.QUOTES in self.peer.features
                    return taker.surveyed(event)
                case Kept():
                    return self._kept(taker, event, now)
                case Spoiled():
                    return taker.spoiled(event.ordinals) if event.part is taker.part else []
                case Failed():
                    return self._refused(event.manifest, event.fault)
        except ModelsyncError as error:
            return self._refused(event.manifest, fault_of(error))

    def _given(self, give: words.Give, now: float) -> list[Effect]:
        taker = self._takers.get(give.manifest)
        if taker is None:
            return self._strayed(give)
        if taker.owed(give):
            self._progressed(give, now)
            self._grants.arrived(len(give.payload), now)
        return taker.give(give)

    def _strayed(self, give: words.Give) -> list[Effect]:
        """Of a transfer that was dropped, and late: harmless, unless it never ends. Raises ProtocolError."""
        self._stray_bytes += len(give.payload)
        if self._stray_bytes > STRAY_BYTES:
            raise ProtocolError(f"{self._stray_bytes} bytes came of transfers that are not under way")
        return []

    def _progressed(self, give: words.Give, now: float) -> None:
        self._trickle += len(give.payload)
        if self._trickle >= TRICKLE or give.offset + len(give.payload) >= give.encoded_size:
            self._moved, self._trickle = now, 0

    def _received(self, frame: words.Frame, now: float) -> list[Effect]:
        if isinstance(frame, words.Hello):
            return self._greeted(frame)
        if isinstance(frame, words.Refuse):
            return self._was_refused(frame)
        if self.peer is None:
            raise ProtocolError("the first frame was not Hello")
        match frame:
            case words.Give():
                return self._given(frame, now)
            case words.Want():
                return self._giver.want(frame)
            case words.Offer():
                return self._take_offered(frame)
            case words.Ask():
                return self._giver.ask(frame)
            case words.Quote():
                return self._quoted(frame, now)
            case words.Echo():
                return self._echoed(frame, now)
            case words.Settle():
                return self._was_settled(frame)
            case words.Desired() | words.Report() | words.Tidings():
                return [Deliver(frame)]
            case words.Unknown(field):
                raise ProtocolError(
                    f"a frame of kind {field} is unknown here",
                    hint="the other side is newer than this one: upgrade this one, the hub first",
                )

    def _greeted(self, hello: words.Hello) -> list[Effect]:
        if self.peer is not None:
            raise ProtocolError("Hello came twice")
        if hello.protocol != self._hello.protocol:
            raise WrongProtocolError(
                f"{hello.software} speaks protocol {hello.protocol}, {self._hello.software} speaks"
                f" {self._hello.protocol}",
                safe="nothing was sent or changed",
                hint="upgrade the older of the two",
            )
        self.peer = hello
        self._giver.codecs = hello.codecs & self._hello.codecs
        return [Deliver(hello)]

    # --- taking ---

    def _take(self, event: Take) -> list[Effect]:
        known = self._takers.get(event.offer.manifest)
        if known is not None:
            known.priority = event.priority
            return []
        return self._begin(event.offer, event.priority, gated=event.gated).survey()

    def _take_offered(self, offer: words.Offer) -> list[Effect]:
        if offer.manifest in self._takers:
            raise ProtocolError("the same manifest was offered twice at once")
        return self._begin(offer, 0).consider()

    def _begin(self, offer: words.Offer, priority: int, *, gated: bool = False) -> Taker:
        self._serial += 1
        taker = Taker(offer, priority, serial=self._serial, gated=gated, limits=self._limits)
        self._takers[offer.manifest] = taker
        return taker

    def _quoted(self, quote: words.Quote, now: float) -> list[Effect]:
        taker = self._takers.get(quote.manifest)
        if taker is None:
            return []
        if taker.owed_quote:
            self._moved = now
        return taker.quoted(quote.priced)

    def _echoed(self, echo: words.Echo, now: float) -> list[Effect]:
        if not echo.answer:
            return [Send(words.Echo(echo.token, answer=True))]
        self._grants.echoed(echo.token, now)
        return []

    def _kept(self, taker: Taker, event: Kept, now: float) -> list[Effect]:
        if event.part is not taker.part:
            return []
        before = taker.in_flight
        effects = taker.kept(event.ordinals, event.cpu)
        self._grants.kept(before - taker.in_flight, now)
        return effects

    def _settled(self, manifest: Digest, settled: Settled) -> list[Effect]:
        progress = self._takers.pop(manifest).progress
        cpu = round(progress.taker_cpu * 1e6)
        return [
            Send(words.Settle(manifest, settled.number, settled.created, settled.release_digest, progress.coded, cpu)),
            Finished(manifest, settled, None, progress),
        ]

    def _refused(self, manifest: Digest, fault: words.Fault) -> list[Effect]:
        """We can't go on taking this."""
        self._stray_bytes = 0  # what was on its way comes all the same
        progress = self._takers.pop(manifest).progress
        return [Send(words.Refuse(fault, manifest)), Finished(manifest, None, fault, progress)]

    def _dropped(self, manifests: Iterable[Digest]) -> list[Effect]:
        fault = fault_of(RefusedError("it is not wanted any more", safe="what is durable stays"))
        return [effect for one in manifests if one in self._takers for effect in self._refused(one, fault)]

    def _grant(self, now: float) -> list[Effect]:
        """What may be asked for now."""
        if self.peer is None or self._over:
            return []
        echoes = words.Feature.ECHO in self.peer.features
        return self._grants.share(self._takers, now, frame_bytes=self.frame_bytes, echoes=echoes)

    # --- giving ---

    def _was_settled(self, settle: words.Settle) -> list[Effect]:
        self._offered.discard(settle.manifest)
        progress = replace(self._giver.progress(settle.manifest), coded=settle.coded, taker_cpu=settle.cpu / 1e6)
        settled = Settled(settle.number, settle.created, settle.release_digest)
        return [*self._giver.drop(settle.manifest), Finished(settle.manifest, settled, None, progress)]

    def _load_failed(self, event: LoadFailed) -> list[Effect]:
        if not (self._giver.is_loading(event.serial) or self._giver.is_pricing(event.serial)):
            return []
        return [Send(words.Refuse(event.fault, event.manifest)), *self._given_up(event.manifest, event.fault)]

    def _given_up(self, manifest: Digest, fault: words.Fault) -> list[Effect]:
        progress = self._giver.progress(manifest)
        effects = self._giver.drop(manifest)
        if manifest in self._offered:
            self._offered.discard(manifest)
            effects.append(Finished(manifest, None, fault, progress))
        return effects

    def _was_refused(self, refuse: words.Refuse) -> list[Effect]:
        """The peer can't go on: with one transfer, or at all."""
        if refuse.manifest is None:
            self._over = True
            return [HangUp(refuse.fault)]
        taker = self._takers.pop(refuse.manifest, None)
        if taker is not None:
            return [Finished(refuse.manifest, None, refuse.fault, taker.progress)]
        return self._given_up(refuse.manifest, refuse.fault)

    # --- time ---

    @property
    def _owed(self) -> bool:
        """Whether the peer owes us its first word, chunks, or what they will take."""
        return self.peer is None or any(taker.awaits or taker.owed_quote for taker in self._takers.values())

    def _watch(self, now: float) -> list[Effect]:
        """Sets the alarm: while the peer owes us something, and for when more may be asked for."""
        if self._over:
            return []
        due = self._grants.wake_at if self.peer is not None else inf
        if self._owed:
            due = min(due, self._moved + self._patience)
        if self._alarm is not None and self._alarm <= due:
            return []  # it comes early enough, and looks again then
        if due == inf:
            return []
        self._alarm = max(due, now)
        return [WakeAt(self._alarm)]

    def _woke(self, now: float) -> list[Effect]:
        self._alarm = None
        if self._owed and now - self._moved >= self._patience:
            raise NoProgressError(
                f"nothing arrived for {now - self._moved:.0f} seconds",
                safe="every chunk that arrived before is kept",
            )
        return []

    def _hang_up(self, error: ModelsyncError) -> list[Effect]:
        self._over = True
        fault = fault_of(error)
        return [Send(words.Refuse(fault)), HangUp(fault)]
