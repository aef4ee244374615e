"""Codings against a base: who may use them, what they cost, and that nobody pays for them before they are needed."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelsyncd.codec.hint import Hint
from modelsyncd.codec.profile import FAST_LINK, SLOW_LINK, Profile, profile_for
from modelsyncd.codec.registry import NEEDS_BASE, READABLE, Codec, decode, encode
from modelsyncd.errors import DamageError
from tests.fakes.chunk_samples import samples
from tests.fakes.coding_loops import loops  # noqa: F401 - all of these twice

SAMPLES = samples()
PLAIN_CODECS = frozenset({Codec.STORED, Codec.ZSTD})


@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.parametrize("profile", list(Profile))
def test_every_sample_reads_back_with_its_base_and_without(name: str, profile: Profile) -> None:
    sample = SAMPLES[name]
    for base in (sample.base, None):
        codec, payload = encode(sample.plain, READABLE, sample.hint, base, profile)
        assert decode(codec, payload, len(sample.plain), base) == sample.plain


@pytest.mark.parametrize(
    ("name", "most"),
    [("f32", 0.50), ("f16", 0.34), ("bf16", 0.25), ("i8", 0.15), ("same", 0.03), ("f32-decayed", 0.06)],
)
def test_an_update_costs_a_part_of_its_size(name: str, most: float) -> None:
    sample = SAMPLES[name]
    codec, payload = encode(sample.plain, READABLE, sample.hint, sample.base)
    assert codec in NEEDS_BASE
    assert len(payload) < most * len(sample.plain)


def test_the_smallest_profile_is_smaller_than_the_fast_one() -> None:
    sample = SAMPLES["f32"]
    sizes = [len(encode(sample.plain, READABLE, sample.hint, sample.base, profile)[1]) for profile in Profile]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[1] < sizes[2]


def test_the_plain_profile_uses_no_base_and_no_planes() -> None:
    sample = SAMPLES["bf16"]
    assert encode(sample.plain, READABLE, sample.hint, sample.base, Profile.PLAIN)[0] in PLAIN_CODECS


@pytest.mark.parametrize("allowed", [PLAIN_CODECS, PLAIN_CODECS | {Codec.PLANES}, PLAIN_CODECS | {Codec.DELTA}])
def test_only_codecs_that_the_peer_reads_are_used(allowed: frozenset[Codec]) -> None:
    for sample in SAMPLES.values():
        assert encode(sample.plain, allowed, sample.hint, sample.base)[0] in allowed


def test_opaque_bytes_without_a_base_are_coded_as_ever() -> None:
    sample = SAMPLES["opaque"]
    assert encode(sample.plain, READABLE) == encode(sample.plain, PLAIN_CODECS)


@pytest.mark.parametrize("codec", sorted(NEEDS_BASE))
@pytest.mark.parametrize("base", [None, b"", bytes(99), bytes(101)])
def test_a_base_that_is_missing_or_of_another_length_is_damage(codec: Codec, base: bytes | None) -> None:
    with pytest.raises(DamageError, match="base"):
        decode(codec, bytes(50), 100, base)


def test_a_base_of_another_length_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="99 bytes"):
        encode(bytes(100), READABLE, Hint("f32"), bytes(99))


def test_views_are_as_good_as_bytes() -> None:
    sample = SAMPLES["f32-phase"]
    plain, base = memoryview(sample.plain), memoryview(bytearray(sample.base))
    for profile in Profile:
        codec, payload = encode(plain, READABLE, sample.hint, base, profile)
        assert decode(codec, memoryview(payload), len(plain), base) == sample.plain


@pytest.mark.parametrize(
    ("rate", "profile"),
    [
        (0.0, Profile.SMALLEST),
        (SLOW_LINK - 1, Profile.SMALLEST),
        (SLOW_LINK, Profile.FAST),
        (FAST_LINK - 1, Profile.FAST),
        (FAST_LINK, Profile.PLAIN),
    ],
)
def test_the_faster_the_link_the_less_a_giver_tries(rate: float, profile: Profile) -> None:
    assert profile_for(rate) is profile


def test_numpy_is_not_loaded_before_it_is_needed_and_not_listed_without_it() -> None:
    program = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "if len(sys.argv) > 1:\n"
        "    find = PathFinder.find_spec\n"
        "    PathFinder.find_spec = lambda name, *rest: None if name == 'numpy' else find(name, *rest)\n"
        "from modelsyncd.codec.registry import READABLE, decode\n"
        "assert 'numpy' not in sys.modules\n"
        "print(*sorted(codec.name for codec in READABLE))\n"
    )

    def codecs(*args: str) -> set[str]:
        run = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=True)
        return set(run.stdout.split())

    assert codecs() == {codec.name for codec in READABLE}
    assert codecs("without") == {"STORED", "ZSTD"}


def test_many_threads_at_once_read_back_what_they_wrote() -> None:
    def wrong(round_: int) -> int:
        count = 0
        for name in sorted(SAMPLES)[round_ % 3 :]:
            sample = SAMPLES[name]
            codec, payload = encode(sample.plain, READABLE, sample.hint, sample.base)
            count += decode(codec, payload, len(sample.plain), sample.base) != sample.plain
        return count

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(wrong, range(12))) == 0
