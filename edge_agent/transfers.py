"""The only place that knows what is being fetched: by which session, how urgently, how fast, and what it has cost.

Nothing of a content travels before `go`. All methods belong to the loop's thread; `now` is seconds on one clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from edge_agent.fetcher import Fetcher
from edge_agent.forecasts import Forecasts
from edge_agent.ledger import Ledger
from edge_agent.speed import Speed
from modelsyncd.digest import Digest
from modelsyncd.plan import Forecast
from modelsyncd.session.effects import Finished, Quoted
from modelsyncd.session.events import Pace
from modelsyncd.session.frames import Offer, Report
from modelsyncd.session.progress import Progress

NO_PACE = Pace()


class Transfers:
    """What is under way. None of it outlives its session, but what it cost, and what it will, does."""

    def __init__(self) -> None:
        self.forecasts = Forecasts()
        self.rate = 0.0
        """Payload bytes a second that came last; 0 while nothing came that says so."""
        self._pump: Fetcher | None = None
        self._pace = NO_PACE
        self._taking: dict[Digest, int] = {}
        self._arrived: set[Digest] = set()
        self._ledger = Ledger()
        self._seen: dict[Digest, int] = {}
        self._fresh: Counter[Digest] = Counter()
        self._speeds: dict[Digest, Speed] = {}

    @property
    def online(self) -> bool:
        """Whether there is a session."""
        return self._pump is not None

    @property
    def taking(self) -> Mapping[Digest, int]:
        """Manifests that are being fetched, with their priorities."""
        return self._taking

    @property
    def costs(self) -> Mapping[Digest, Progress]:
        """What each manifest that is wanted has taken, over all sessions."""
        return {**self._ledger.all(), **{manifest: self.cost(manifest) for manifest in self._taking}}

    @property
    def due(self) -> Mapping[Digest, int]:
        """Payload bytes that are yet to come at most, where that is known."""
        return self.forecasts.due({manifest: cost.wire for manifest, cost in self.costs.items()})

    @property
    def rates(self) -> Mapping[Digest, float]:
        """Payload bytes a second of late."""
        return {manifest: speed.rate for manifest, speed in self._speeds.items()}

    def cost(self, manifest: Digest) -> Progress:
        """What one manifest has taken, over all sessions."""
        if self._pump is None or manifest not in self._taking or manifest in self._arrived:
            return self._ledger.sum(manifest)
        return self._ledger.sum(manifest, self._pump.progress(manifest))

    # --- what happens ---

    def attach(self, pump: Fetcher) -> None:
        """A session is up."""
        self._pump = pump
        self._pace = NO_PACE
        self._taking.clear()
        self.forecasts.begin()

    def detach(self, now: float) -> None:
        """The session is over. What has arrived stays taken until it is seen on the disk."""
        for manifest in self._taking.keys() - self._arrived:
            self._end(manifest, now)
        self._pump = None

    def finish(self, end: Finished, now: float) -> None:
        """The session has ended a transfer. What arrived counts as taken until it is seen on the disk."""
        settled = end.fault is None
        self._count(end.manifest, end.progress, now)
        self._forget_session(end.manifest)
        self._ledger.close(end.manifest, end.progress, settled=settled)
        if settled:
            self._arrived.add(end.manifest)
        else:
            del self._taking[end.manifest]

    def quoted(self, word: Quoted, now: float) -> None:
        """The other side says what the rest of a transfer takes."""
        if word.manifest in self._taking:
            self.forecasts.quoted(word, now)

    def foresee(self, manifest: Digest, disk: int, wall: float) -> Forecast | None:
        """Makes the forecast of what waits for leave; None when there is nothing new to tell."""
        return self.forecasts.make(manifest, self.cost(manifest), disk=disk, rate=self.rate, wall=wall)

    def landed(self) -> Collection[Digest]:
        """What has arrived since this was asked last; a look at the disk shows it now."""
        arrived, self._arrived = self._arrived, set()
        return arrived

    def release(self, landed: Collection[Digest]) -> None:
        """These were looked for on the disk."""
        for manifest in landed:
            self._taking.pop(manifest, None)

    def keep(self, wanted: Collection[Digest]) -> None:
        """Forgets what all others have cost."""
        self._ledger.keep(wanted)
        self.forecasts.keep(wanted)

    def take_stock(self, now: float) -> Mapping[Digest, int]:
        """Payload bytes that came since this was asked last."""
        if self._pump is not None:
            for manifest in self._taking.keys() - self._arrived:
                self._count(manifest, self._pump.progress(manifest), now)
        fresh, self._fresh = self._fresh, Counter()
        return fresh

    # --- what is to be done; nothing without a session ---

    def fetch(self, offer: Offer, priority: int) -> None:
        """Begins to fetch, or changes the priority."""
        if self._pump is None:
            return
        if offer.manifest not in self._taking and self._ledger.begin(offer.manifest):
            self.forecasts.forget(offer.manifest)
        self._taking[offer.manifest] = priority
        self._pump.take(offer, priority, gated=True)

    def go(self, manifest: Digest, allowance: int, now: float) -> None:
        """Lets a content travel, as long as it takes about so many payload bytes more."""
        if self._pump is None or manifest not in self._taking:
            return
        self.forecasts.go(manifest, self.cost(manifest).wire, allowance)
        self._speeds[manifest] = Speed(now, self._pump.progress(manifest).wire)
        self._pump.go(manifest, allowance)

    def pace(self, pace: Pace) -> None:
        """How fast to ask, from now on."""
        if self._pump is not None and pace != self._pace:
            self._pace = pace
            self._pump.pace(pace)

    def drop(self, manifests: Collection[Digest], now: float) -> None:
        """Stops fetching these."""
        for manifest in manifests:
            if manifest in self._taking and manifest not in self._arrived:
                self._end(manifest, now)
            self._taking.pop(manifest, None)
        if self._pump is not None:
            self._pump.drop(manifests)

    def tell(self, report: Report) -> None:
        """Says where everything stands, before anything else is asked for."""
        if self._pump is not None:
            self.forecasts.untold.clear()
            self._pump.say(report)

    # --- inside ---

    def _end(self, manifest: Digest, now: float) -> None:
        """A session's part of a transfer is over, and not all of it is here."""
        del self._taking[manifest]
        if self._pump is not None:
            progress = self._pump.progress(manifest)
            self._count(manifest, progress, now)
            self._ledger.close(manifest, progress)
        self._forget_session(manifest)

    def _forget_session(self, manifest: Digest) -> None:
        self._seen.pop(manifest, None)
        self._speeds.pop(manifest, None)
        self.forecasts.stop(manifest)

    def _count(self, manifest: Digest, progress: Progress, now: float) -> None:
        came = progress.wire - self._seen.get(manifest, 0)
        self._seen[manifest] = progress.wire
        if came > 0:
            self._fresh[manifest] += came
        speed = self._speeds.get(manifest)
        if speed is not None:
            speed.saw(now, progress.wire)
            if speed.rate:
                self.rate = sum(self.rates.values())
