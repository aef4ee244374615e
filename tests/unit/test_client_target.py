"""Where a client looks for its agent, and what it costs to import."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

import modelsyncd.client
from modelsyncd.client.target import DEFAULT_SOCKET, VARIABLE, deadline_of, resolve, seconds_of
from modelsyncd.errors import BadInputError


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("/run/a.sock", "unix:/run/a.sock"),
        (Path("/run/a.sock"), "unix:/run/a.sock"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
        ("unix:///run/a.sock", "unix:/run/a.sock"),
        ("127.0.0.1:7444", "127.0.0.1:7444"),
        ("[::1]:7444", "[::1]:7444"),
        ("localhost:7444", "localhost:7444"),
    ],
)
def test_a_target_may_be_a_path_a_url_or_an_address(given: str | Path, target: str) -> None:
    assert resolve(given) == target


def test_a_relative_path_is_meant_from_here() -> None:
    assert resolve("./a.sock") == resolve("unix:a.sock") == f"unix:{Path.cwd()}/a.sock"


def test_without_a_target_the_environment_counts_and_then_the_usual_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/tmp/mine.sock")
    assert resolve(None) == "unix:/tmp/mine.sock"
    monkeypatch.delenv(VARIABLE)
    assert resolve(None) == f"unix:{DEFAULT_SOCKET}"


def test_a_path_that_no_socket_can_have_is_refused_with_what_to_do() -> None:
    with pytest.raises(BadInputError) as caught:
        resolve("/" + "x" * 107)
    assert "--socket" in caught.value.hint
    assert resolve("/" + "x" * 106)


def test_waits_are_seconds_from_none_to_for_ever() -> None:
    assert seconds_of(None) == 0.0
    assert deadline_of(math.inf) is None
    assert deadline_of(5.0) == 15.0
    for nonsense in (-1.0, math.nan):
        with pytest.raises(BadInputError):
            seconds_of(nonsense)


def test_importing_the_client_loads_neither_grpc_nor_protobuf() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import sys, modelsyncd.client; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"grpc", "google.protobuf", "asyncio", "cryptography"} & set(said)


def test_a_name_that_is_not_there_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError):
        _ = modelsyncd.client.Clent  # type: ignore[attr-defined]
