"""Which version a worker speaks of: exact for whoever speaks at once, never one that it can't mean for the others."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as some

from edge_agent.sedna.words import Words, Written

NUMBERS = [Written(f"{number}-aaaaaaaaaaaa", number) for number in range(1, 5)]


@dataclass
class Worker:
    """`loaded` is the place in the story of what it loaded last; -1 at first. What it loaded it has yet to say."""

    loaded: int = -1
    to_say: int = -1


@given(some.lists(some.tuples(some.sampled_from(["write", "look", "say"]), some.integers(0, 3)), max_size=60))
def test_a_worker_is_never_taken_to_speak_of_what_it_can_not_mean(steps: list[tuple[str, int]]) -> None:
    words, told, workers = Words(), list[Written](), [Worker() for _ in range(4)]
    for step, which in steps:
        worker = workers[which]
        if step == "write":
            words.write(NUMBERS[which])
            if not told or told[-1] != NUMBERS[which]:
                told.append(NUMBERS[which])
        elif step == "look" and told and worker.to_say < 0:
            if worker.loaded < 0 or told[worker.loaded] != told[-1]:
                worker.loaded = worker.to_say = len(told) - 1
        elif step == "say" and worker.to_say >= 0:
            meant = words.loaded(f"w{which}")
            assert meant in told[worker.to_say :]  # nothing from before it looked
            if worker.to_say == len(told) - 1:
                assert meant == told[-1]  # at once: exactly that
            worker.to_say = -1


@given(some.lists(some.integers(0, 3), min_size=1, max_size=80))
def test_whoever_speaks_at_once_is_always_understood(story: list[int]) -> None:
    words, before = Words(), None
    for which in story:
        words.write(NUMBERS[which])
        if NUMBERS[which] != before:
            assert words.loaded("w") == NUMBERS[which]
            before = NUMBERS[which]
