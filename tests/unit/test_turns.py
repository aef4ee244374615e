"""The lock of the catalogue's writers: in order, and never lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest

from cloud_hub.catalog.turns import Turns


def started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def until_waiting(turns: Turns, count: int) -> None:
    for _ in range(10_000_000):
        if turns.waiting == count:
            return
    raise AssertionError("nobody waits")


def test_whoever_waits_goes_before_one_who_comes_again() -> None:
    turns, order = Turns(), []

    def other() -> None:
        with turns.turn():
            order.append("other")

    with turns.turn():
        thread = started(other)
        until_waiting(turns, 1)
        order.append("first")
    for _ in range(3):
        with turns.turn():
            order.append("again")
    thread.join(10)
    assert order == ["first", "other", "again", "again", "again"]


def test_those_who_wait_go_in_the_order_in_which_they_asked() -> None:
    turns, order = Turns(), []

    def one(name: int) -> None:
        with turns.turn():
            order.append(name)

    threads = []
    with turns.turn():
        for name in range(5):
            threads.append(started(lambda name=name: one(name)))  # type: ignore[misc]
            until_waiting(turns, name + 1)
    for thread in threads:
        thread.join(10)
    assert order == [0, 1, 2, 3, 4]


def test_only_one_at_a_time() -> None:
    turns, inside, most = Turns(), [0], [0]

    def often() -> None:
        for _ in range(200):
            with turns.turn():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [started(often) for _ in range(8)]
    for thread in threads:
        thread.join(30)
    assert (most, inside, turns.waiting) == ([1], [0], 0)


def test_a_turn_ends_with_an_error_in_it() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="wrong"), turns.turn():
        raise ValueError("wrong")
    with turns.turn():
        assert turns.waiting == 0


def test_whoever_is_interrupted_while_waiting_keeps_nobody_waiting() -> None:
    turns, ended = Turns(), threading.Event()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def holds() -> None:
        with turns.turn():
            begun.set()
            until_waiting(turns, 1)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            ended.wait(30)

    begun = threading.Event()
    before = signal.signal(signal.SIGUSR1, interrupted)
    try:
        thread = started(holds)
        begun.wait(10)
        with pytest.raises(KeyboardInterrupt), turns.turn():
            raise AssertionError("it is not our turn")
    finally:
        ended.set()
        signal.signal(signal.SIGUSR1, before)
    thread.join(10)
    assert turns.waiting == 0
    with turns.turn():
        assert turns.waiting == 0
