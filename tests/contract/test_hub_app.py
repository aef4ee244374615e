"""`modelsync-hub` as a process: how it starts, what it refuses, and how it stops."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from cloud_hub.app import Settings, read_settings
from modelsyncd import __version__
from modelsyncd.errors import BadInputError
from modelsyncd.session.events import Settled
from modelsyncd.trust import context
from modelsyncd.trust.identity import HUB_TLS_NAME
from tests.fakes.hub import talking
from tests.fakes.publisher import Publication, Puller, publication, weights

BUSY_RSS = 224 << 20  # bytes: a window of 32 MiB, batches of 8 MiB, and gRPC's own copies of what is under way
IDLE_RSS = 120 << 20  # bytes: most of it is gRPC, SQLAlchemy and cryptography; S3 would load obstore too


def _command(data: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "cloud_hub.program", "run", "--data", str(data), "--listen", "127.0.0.1:0", *more]


@contextmanager
def _hub(data: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A hub in a process of its own that serves, and the line that it greets with."""
    with subprocess.Popen(_command(data, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def _failed(data: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(data, *more), capture_output=True, text=True, timeout=60, check=False)


def test_a_hub_says_where_it_serves_and_what_to_type_next_and_stops_when_told(tmp_path: Path) -> None:
    with _hub(tmp_path) as (process, greeting):
        known = context.read(tmp_path / "admin.toml")
        assert f"serves at {known.hub}" in greeting
        assert f"modelsyncctl login {tmp_path / 'admin.toml'}" in greeting
        assert (tmp_path / "admin.toml").stat().st_mode & 0o777 == 0o600
        assert _healthy(known)
        rss = _resident(process.pid)
        assert rss < IDLE_RSS, f"{rss >> 20} MiB"
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "hub.serving" in log
        assert "hub.stopping" in log


def _healthy(known: context.Context) -> bool:
    identity = known.identity
    credentials = grpc.ssl_channel_credentials(identity.authority, identity.key, identity.certificate)
    options = [("grpc.ssl_target_name_override", HUB_TLS_NAME)]
    with grpc.secure_channel(known.hub, credentials, options) as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        return bytes(check(b"", timeout=30)) == b"\x08\x01"  # a HealthCheckResponse with the status SERVING


def _resident(process: int, field: str = "VmRSS") -> int:
    """Bytes in memory now; VmHWM: at most so far."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) << 10


@pytest.mark.slow
def test_memory_does_not_grow_with_what_is_pushed_and_pulled(tmp_path: Path) -> None:
    model = publication({"model.bin": weights(1, 256 << 20)}, producer="admin/admin", step=256 << 10)
    with _hub(tmp_path) as (process, _):
        asyncio.run(_there_and_back(context.read(tmp_path / "admin.toml"), model))
        most = _resident(process.pid, "VmHWM")
    assert most < BUSY_RSS, f"{most >> 20} MiB"


async def _there_and_back(known: context.Context, model: Publication) -> None:
    async with talking(known.hub, known.identity, giver=model) as talk:
        talk.say(model.offer)
        assert isinstance(await talk.outcome(model.offer), Settled)
    puller = Puller()
    async with talking(known.hub, known.identity, taker=puller) as talk:
        talk.take(model.offer)
        assert isinstance(await talk.outcome(model.offer), Settled)
    assert puller.content(model.offer) == b"".join(model.chunks)


def test_a_second_hub_on_the_same_folder_is_refused_and_told_what_to_do(tmp_path: Path) -> None:
    with _hub(tmp_path) as (process, _):
        second = _failed(tmp_path)
        assert second.returncode == 5
        assert f"in use by process {process.pid}" in second.stderr
        assert "next:" in second.stderr


def test_a_hub_killed_at_once_starts_again_on_the_same_folder(tmp_path: Path) -> None:
    with _hub(tmp_path) as (process, _):
        process.kill()
        process.wait(30)
    before = (tmp_path / "authority" / "authority.key").read_bytes()
    with _hub(tmp_path) as (_, greeting):
        assert "serves at" in greeting
    assert (tmp_path / "authority" / "authority.key").read_bytes() == before


def test_a_catalogue_of_a_newer_hub_is_refused_and_left_alone(tmp_path: Path) -> None:
    with _hub(tmp_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    with sqlite3.connect(tmp_path / "catalog.db") as database:
        database.execute("UPDATE facts SET value = 99 WHERE name = 'schema'")
    database.close()
    refused = _failed(tmp_path)
    assert refused.returncode == 5
    assert "format 99" in refused.stderr
    with sqlite3.connect(tmp_path / "catalog.db") as database:
        assert database.execute("SELECT value FROM facts WHERE name = 'schema'").fetchone() == (99,)
    database.close()


def test_a_port_that_is_taken_is_refused_in_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = _failed(tmp_path, "--listen", f"127.0.0.1:{port}")
    assert refused.returncode == 5
    assert f"port {port}" in refused.stderr
    assert not (tmp_path / "admin.toml").exists()


def test_the_log_may_be_json(tmp_path: Path) -> None:
    with _hub(tmp_path, "--log-format", "json") as (process, _):
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
    assert '"event": "hub.serving"' in log


def test_the_version_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cloud_hub.program", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path)
    assert shown.stdout == f"modelsync-hub {__version__}\n"


def test_settings_come_from_a_file_and_flags_come_before_them(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text('data = "/srv/hub"\nlisten = "0.0.0.0:9000"\nname = "hub.example.org"\n')
    settings = read_settings(["--config", str(file), "--listen", "[::]:7443"])
    assert settings == Settings(Path("/srv/hub"), "[::]:7443", "hub.example.org")
    assert read_settings(["run", "--data", "x"]).listen == "0.0.0.0:7443"
    coding = read_settings(["--data", "x", "--coding", "fast", "--codings-bytes", "0"])
    assert (coding.coding, coding.codings_bytes) == ("fast", 0)


def test_wrong_settings_are_refused_with_the_right_words(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text('data = "/srv/hub"\nlog_format = "yaml"\n')
    with pytest.raises(BadInputError) as wrong:
        read_settings(["--config", str(file)])
    assert "json" in wrong.value.hint
    for wrong_setting, right_words in (('coding = "hard"', "smallest"), ("codings_bytes = -1", "0 keeps no codings")):
        file.write_text(f'data = "/srv/hub"\n{wrong_setting}\n')
        with pytest.raises(BadInputError) as wrong:
            read_settings(["--config", str(file)])
        assert right_words in wrong.value.hint
    with pytest.raises(BadInputError, match="no address"):
        read_settings(["--data", "x", "--listen", "7443"])
    with pytest.raises(BadInputError, match="where this hub keeps"):
        read_settings(["run"])
    assert list(tmp_path.iterdir()) == [file]
