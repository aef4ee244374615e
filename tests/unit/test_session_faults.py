"""An error crosses the wire as what it is, and nothing that is not ours crosses at all."""

from __future__ import annotations

import pytest

from modelsyncd.errors import DiskFullError, ModelsyncError, NotFoundError, NumberTakenError, RoadError, error_classes
from modelsyncd.session.faults import INTERNAL, error_of, fault_of
from modelsyncd.session.frames import Fault


@pytest.mark.parametrize("kind", error_classes().values(), ids=lambda kind: kind.__name__)
def test_every_error_of_ours_arrives_as_itself(kind: type[ModelsyncError]) -> None:
    sent = kind("what happened", safe="what is safe", hint="what to do")
    arrived = error_of(fault_of(sent))
    assert type(arrived) is kind
    assert (arrived.message, arrived.safe, arrived.hint) == ("what happened", "what is safe", "what to do")
    assert fault_of(sent).retryable == kind.retryable


def test_the_nearest_names_travel_as_the_hint() -> None:
    assert fault_of(NotFoundError("no such node", nearest=["cam-1"])).hint == "did you mean cam-1?"


def test_the_text_of_an_error_that_is_not_ours_does_not_travel() -> None:
    fault = fault_of(ValueError("secret of this machine"))
    assert fault == INTERNAL
    assert "secret" not in repr(fault)


def test_of_a_group_the_first_error_of_ours_speaks() -> None:
    group = ExceptionGroup("tasks", [ValueError("inner"), ExceptionGroup("more", [DiskFullError("no room")])])
    assert fault_of(group).code == "disk-full"
    assert fault_of(ExceptionGroup("tasks", [ValueError("inner")])) == INTERNAL


def test_a_code_of_the_future_is_named_in_the_message() -> None:
    error = error_of(Fault("quota-exceeded", "your quota is used up", hint="ask for more"))
    assert type(error) is ModelsyncError
    assert str(error) == "your quota is used up (quota-exceeded)"
    assert error.hint == "ask for more"


def test_the_number_that_is_free_travels_as_a_number() -> None:
    error = error_of(fault_of(NumberTakenError("7 is taken", next_number=8)))
    assert isinstance(error, NumberTakenError)
    assert (error.message, error.next_number) == ("7 is taken", 8)


def test_a_fault_that_travels_on_is_still_the_same() -> None:
    fault = fault_of(RoadError("the link failed", hint="wait"))
    assert fault_of(error_of(fault)) == fault
