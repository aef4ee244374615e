"""A kept rule beside people who push, measure, promote and roll back: it goes forward only, once, and never guesses."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_hub.catalog import Catalog, NumberRow
from cloud_hub.catalog.evidence import Counted
from cloud_hub.catalog.rules import KIND, RuleRow
from modelsyncd.digest import digest_of
from modelsyncd.errors import ConflictError, NotFoundError
from modelsyncd.names import ModelRef
from modelsyncd.release import SignedRelease
from modelsyncd.wire.nouns import encode_release
from tests.fakes.releases import HELMET, made

STABLE, CANDIDATE = "stable", "candidate"
BETTER = "metrics.precision >= current.precision + 0.1"
VALUES = [0.0, 0.1, 0.2, 0.3, 0.4]

NUMBERS = st.integers(1, 4)
MEASURE = st.tuples(st.just("measure"), NUMBERS, st.sampled_from(VALUES))
STEPS = st.one_of(
    MEASURE,
    MEASURE,
    st.just(("push",)),
    st.tuples(st.just("promote"), NUMBERS, st.sampled_from([STABLE, CANDIDATE])),
    st.tuples(st.just("rollback"), st.sampled_from([STABLE, CANDIDATE])),
)


@dataclass
class World:
    """A catalogue with a rule, and what should be in it."""

    catalog: Catalog
    now: float = 1.0
    releases: int = 0
    measured: dict[int, float] = field(default_factory=dict)

    def act(self, what: tuple[object, ...]) -> None:
        self.now += 1
        match what:
            case ("push",):
                self.push()
            case ("measure", int(number), float(value)) if number <= self.releases:
                key = f"{self.now}".encode()
                row = NumberRow(HELMET, number, "precision", value, "", "", self.now, "node/n1", key)
                self.catalog.numbers.add([row])
                self.measured[number] = value
            case ("promote", int(number), str(channel)) if number <= self.releases:
                self.catalog.models.promote(ModelRef(HELMET, number=number), channel, "admin/ann", "", self.now)
            case ("rollback", str(channel)):
                with suppress(ConflictError, NotFoundError):
                    self.catalog.models.rollback(HELMET, channel, "admin/ann", "", self.now)

    def push(self) -> None:
        self.releases += 1
        what = made(self.releases, f"content {self.releases}")
        raw = encode_release(what.release)
        self.catalog.models.commit(
            SignedRelease(raw), what.release, digest_of(raw), channel=None, who="admin/ann", now=self.now
        )

    def named(self, channel: str) -> int:
        return next((row.number for row in self.catalog.models.channels(HELMET) if row.name == channel), 0)

    def had(self) -> set[int]:
        """What stable has ever named."""
        return {move.to_number for move in self.catalog.models.history(HELMET).moves if move.channel == STABLE}

    def expected(self) -> int | None:
        """Where the rule should move stable."""
        candidate, current = self.named(CANDIDATE), self.named(STABLE)
        if candidate == 0 or candidate <= max(self.had(), default=0):
            return None
        if candidate not in self.measured or current not in self.measured:
            return None
        ours, theirs = (Decimal(str(self.measured[number])) for number in (candidate, current))
        return candidate if ours >= theirs + Decimal("0.1") else None


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(STEPS, min_size=5, max_size=25))
def test_a_rule_moves_its_channel_exactly_when_it_holds_and_forward_only(steps: list[tuple[object, ...]]) -> None:
    with TemporaryDirectory() as own, Catalog.open(f"sqlite:///{own}/catalog.db") as catalog:
        world = World(catalog)
        world.push()
        world.push()
        for number, channel in ((1, STABLE), (2, CANDIDATE)):
            catalog.models.promote(ModelRef(HELMET, number=number), channel, "admin/ann", "", 1.0)
        world.act(("measure", 1, 0.1))
        catalog.rules.set(RuleRow(HELMET, STABLE, CANDIDATE, BETTER, Counted(), "admin/ann", 1.0))
        for step in steps:
            world.act(step)
            expected, had = world.expected(), world.had()
            moves = catalog.rules.apply(HELMET, None, world.now)
            assert [move.to_number for move in moves] == ([] if expected is None else [expected])
            assert all(move.kind == KIND and move.to_number > max(had) for move in moves)
            assert catalog.rules.apply(HELMET, None, world.now) == []
