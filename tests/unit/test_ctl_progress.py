"""How work under way is told: its rate, its words, its lines."""

from __future__ import annotations

from modelsyncd.codec.registry import READABLE, Codec
from modelsyncd.ctl.progress import LINE_EVERY, SPAN, Lines, Pace, Step, words
from modelsyncd.ctl.tally import Tally
from modelsyncd.digest import digest_of
from modelsyncd.session.events import Encoded, Loaded
from modelsyncd.session.frames import Part, Want
from modelsyncd.session.giver import Giver
from modelsyncd.session.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_that_of_the_last_while_not_of_the_whole() -> None:
    pace = Pace()
    for second in range(100):
        pace.saw(second * 10, second)
    for second in range(100, 100 + int(SPAN) + 1):
        pace.saw(1_000 + (second - 100) * 1_000, second)
    assert pace.rate == 1_000


def test_a_rate_is_unknown_after_one_sample() -> None:
    pace = Pace()
    pace.saw(5, 1.0)
    assert pace.rate == 0


def test_frequent_samples_do_not_pile_up() -> None:
    pace = Pace()
    for tick in range(100_000):
        pace.saw(tick, tick / 10_000)
    assert len(pace._samples) < 100
    assert round(pace.rate) == 10_000


def test_words_tell_size_rate_time_left_and_what_was_there() -> None:
    step = Step(total=100 << 20, done=60 << 20, had=50 << 20)
    assert words(step, 1 << 20) == "60.0 MiB of 100.0 MiB, 1.0 MiB/s, 40 s left, 50.0 % already there"


def test_short_work_passes_without_a_line_and_long_work_has_one_now_and_then() -> None:
    said: list[str] = []
    clock = Clock()
    lines = Lines("pushing", said.append, clock)
    lines.show(Step(100, 0))
    clock.now = LINE_EVERY / 2
    lines.show(Step(100, 50))
    assert said == []
    clock.now = LINE_EVERY
    lines.show(Step(100, 100))
    assert said == ["pushing: 100 %, 100 B of 100 B, 20 B/s"]


def test_a_push_that_is_tried_twice_shows_what_was_there_before_the_first_try() -> None:
    tally = Tally(1_000)
    tally.given(Progress(total=600, done=200, wire=250))
    tally.given(Progress())
    tally.given(Progress(total=400, done=0))
    assert tally.step == Step(1_000, 600, 400)
    tally.given(Progress(total=400, done=400))
    assert tally.step == Step(1_000, 1_000, 400)


def test_a_pull_counts_from_what_was_here() -> None:
    tally = Tally(1_000)
    tally.taken(Progress(total=1_000, had=900, done=950))
    assert tally.step == Step(1_000, 950, 900)


def test_a_giver_knows_what_the_taker_lacked_though_a_manifest_went_before() -> None:
    manifest = digest_of(b"manifest")
    giver = Giver()
    giver.codecs = READABLE
    giver.want(Want(manifest, Part.MANIFEST, (range(1),), missing_bytes=70))
    giver.loaded(Loaded(manifest, 1, Part.MANIFEST, [Encoded(0, Codec.STORED, bytes(70))]))
    giver.want(Want(manifest, Part.CONTENT, (range(1),), missing_bytes=500))
    giver.want(Want(manifest, Part.CONTENT, (range(1, 2),), missing_bytes=300))
    assert giver.progress(manifest) == Progress(total=500, done=200, wire=70)
