"""Every example in the client's documentation runs, against a real agent, with the answer that stands there."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import io
import subprocess
import sys
import types
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from modelsyncd.client import AsyncClient, Client
from tests.e2e.conftest import StartAgent
from tests.e2e.processes import AgentProgram, HubProgram
from tests.e2e.waiting import until

HEAVY = ("numpy", "sqlite3", "sqlite_utils", "zstandard", "blake3", "cryptography", "modelsyncd.store", "edge_agent")


@pytest.fixture
def agent(
    own_hub: HubProgram, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AgentProgram:
    """It has acme/helmet:1, with 1,002 bytes, and an outbox that nothing leaves."""
    content = tmp_path / "content"
    content.mkdir()
    (content / "weights.bin").write_bytes(b"w" * 1_000)
    (content / "config.json").write_text("{}")
    own_hub.ctl.json("push", str(content), "acme/helmet", "--channel", "stable")
    started = start_agent(own_hub, "examples")
    own_hub.ctl.json("assign", "acme/helmet@stable", "--node", "examples")
    monkeypatch.setenv("MODELSYNCD_AGENT", str(started.data / "agent.sock"))
    return started


@pytest.mark.slow
def test_every_example_of_the_client_that_blocks_runs(
    own_hub: HubProgram, agent: AgentProgram, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = tmp_path / "trained"
    trained.mkdir()
    (trained / "weights.bin").write_bytes(b"v" * 1_000)
    with Client() as client:
        model = client.get("acme/helmet", wait=60)
        until(lambda: len(client.find()) == 1, "the extract of the catalogue is here")
        own_hub.kill()  # so that what is published waits
        names = {"Client": Client, "client": client, "trained": trained, "model": model}
        tests = [test for test in doctest.DocTestFinder(recurse=True).find(Client, "Client") if test.examples]
        assert {test.name.partition(".")[2] for test in tests} >= _public(Client) - {"close"}
        runner = doctest.DocTestRunner(verbose=False)
        for test in sorted(tests, key=lambda test: test.lineno or 0):
            test.globs = names
            runner.run(test, clear_globs=False)
    assert runner.failures == 0, capsys.readouterr().out


@pytest.mark.slow
def test_the_example_of_the_client_for_asyncio_runs(agent: AgentProgram) -> None:
    with Client() as client:
        client.get("acme/helmet", wait=60)
    (example,) = doctest.DocTestParser().get_examples(inspect.getdoc(AsyncClient) or "")
    compiled = compile(example.source, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    said = io.StringIO()
    with redirect_stdout(said):
        asyncio.run(types.FunctionType(compiled, {"AsyncClient": AsyncClient})())
    assert said.getvalue() == example.want


def test_both_clients_have_the_same_methods() -> None:
    assert _public(Client) == _public(AsyncClient)


def _public(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def _loaded(code: str) -> set[str]:
    """The modules that a fresh interpreter has after this."""
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split())


def test_a_job_loads_nothing_that_it_does_not_need() -> None:
    first = _loaded("import modelsyncd.client")
    assert not {name for name in first if name.split(".")[0] in ("grpc", "google", "asyncio")}
    used = _loaded("from modelsyncd import client\nclient.acquire\nclient.AsyncClient")
    assert "grpc" in used
    heavy = {name for name in used for one in HEAVY if name == one or name.startswith(f"{one}.")}
    assert heavy == set()


def test_the_functions_of_the_module_are_the_clients_methods() -> None:
    from modelsyncd import client  # noqa: PLC0415 - with the others it would be taken for the fixture's

    functions = {name for name in client.__all__ if name[0].islower()}
    assert functions - {"connect"} == _public(Client) - {"close"}
    assert inspect.signature(client.publish) == inspect.signature(Client().publish)
    with pytest.raises(AttributeError, match="aquire"):
        client.aquire  # type: ignore[attr-defined]  # noqa: B018
