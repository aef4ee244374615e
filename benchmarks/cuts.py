"""One file over a link that is cut again and again: what travels, beside curl, rsync and huggingface_hub.

The link is a relay on loopback (`tests/fakes/link/relay.py`) that cuts every tool's connection before the same bytes.
What is counted is what senders put on the link, lost or not. Every tool is started again at once when it gives up.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lab import BIN, Lab, lab, random_file, started, until
from benchmarks.table import show
from tests.fakes.link.relay import TcpLink, tcp_link
from tests.fakes.link.shape import Cut, Shape, Way, random_cuts

RATE = 5e6  # bytes a second
DELAY = 0.03  # seconds each way
SEED = 7
TRIES = 2_000  # of a tool that gives up; more than that is for ever
COMMIT = "0" * 40
PLACE = "/bench/model/resolve/main/weights.bin"  # where huggingface_hub looks for it

HUGGING_FACE = """
import sys
from huggingface_hub import hf_hub_download
hf_hub_download("bench/model", "weights.bin", cache_dir=sys.argv[1])
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one tool needed."""

    tool: str
    travelled: int
    cuts: int
    starts: int
    seconds: float
    whole: bool


def run(root: Path, megabytes: int, cuts: int) -> None:
    """Prints the table."""
    size = megabytes * 1_000_000
    source = root / "served" / "weights.bin"
    source.parent.mkdir(parents=True)
    random_file(source, size)
    seen: list[Seen] = []

    def note(one: Seen) -> None:
        seen.append(one)
        print(f"  {one.tool}: {one.travelled / 1e6:.1f} MB in {one.seconds:.0f} s, {one.cuts} cuts", flush=True)

    with lab(root / "lab") as here:
        note(_push(here, source, size, cuts))
        note(_agent(here, size, cuts, root))
        note(_pull(here, size, cuts, root))
    with _nginx(root, source) as address:
        note(_curl(address, source, cuts, root))
        note(_hugging_face(address, source, cuts, root))
    with _rsync_daemon(root, source) as address:
        note(_rsync(address, source, cuts, root))
    columns = ("tool", "MB on the wire", "of the file's size", "KB again for each cut", "starts", "seconds", "whole")
    title = f"{megabytes} MB, {cuts} cuts (resets and orderly ends), {RATE * 8 / 1e6:.0f} Mbit/s, {DELAY * 2e3:.0f} ms"
    show(title, columns, [_row(one, size) for one in seen])


def _row(one: Seen, size: int) -> tuple[object, ...]:
    again = (one.travelled - size) / max(1, one.cuts) / 1e3
    return (
        *(one.tool, round(one.travelled / 1e6, 1), round(one.travelled / size, 4), round(again, 1)),
        *(one.starts, round(one.seconds), "yes" if one.whole else "no"),
    )


@contextmanager
def _cut_link(address: str, way: Way, size: int, cuts: int) -> Iterator[TcpLink]:
    with tcp_link(address, seed=SEED) as link:
        for each in Way:
            link.shape(each, Shape(rate=RATE, delay=DELAY))
        link.script(way, random_cuts(SEED, size, cuts, (Cut.RESET, Cut.END)))
        yield link


def _measure(tool: str, link: TcpLink, way: Way, act: Callable[[], int], whole: Callable[[], bool]) -> Seen:
    began = time.monotonic()
    starts = act()
    return Seen(tool, link.taken(way), link.cuts, starts, time.monotonic() - began, whole())


def _insist(command: list[str], environment: dict[str, str] | None = None) -> int:
    """Runs it until it ends well; how often it was started."""
    for tried in range(1, TRIES + 1):
        done = subprocess.run(command, capture_output=True, check=False, env=os.environ | (environment or {}))
        if done.returncode == 0:
            return tried
    raise RuntimeError(f"{command[0]} never ends: {done.stderr.decode()[-500:]}")


def _push(here: Lab, source: Path, size: int, cuts: int) -> Seen:
    command = [str(BIN / "modelsyncctl"), "--context", str(here.context), "push", str(source), "bench/model"]
    with _cut_link(here.address, Way.UP, size, cuts) as link:
        through = {"MODELSYNCD_HUB": link.address}
        act = lambda: _insist(command, through)  # noqa: E731
        return _measure("modelsyncctl push", link, Way.UP, act, lambda: True)


def _agent(here: Lab, size: int, cuts: int, root: Path) -> Seen:
    with _cut_link(here.address, Way.DOWN, size, cuts) as link, here.agent("node", link.address) as (_, data):
        channel = data / "models" / "bench" / "model" / "stable"

        def act() -> int:
            here.ctl("assign", "bench/model@stable", "--node", "node")
            here.ctl("promote", "bench/model:1", "stable")
            until(channel.is_symlink)
            return 1

        whole = lambda: _same(channel / "weights.bin", root / "served" / "weights.bin")  # noqa: E731
        return _measure("modelsync-agent", link, Way.DOWN, act, whole)


def _pull(here: Lab, size: int, cuts: int, root: Path) -> Seen:
    dest = root / "pulled"
    command = [str(BIN / "modelsyncctl"), "--context", str(here.context), "pull", "bench/model", str(dest)]
    with _cut_link(here.address, Way.DOWN, size, cuts) as link:
        act = lambda: _insist(command, {"MODELSYNCD_HUB": link.address})  # noqa: E731
        whole = lambda: _same(dest / "weights.bin", root / "served" / "weights.bin")  # noqa: E731
        return _measure("modelsyncctl pull", link, Way.DOWN, act, whole)


def _curl(address: str, source: Path, cuts: int, root: Path) -> Seen:
    target = root / "curled"
    with _cut_link(address, Way.DOWN, source.stat().st_size, cuts) as link:
        url = f"http://{link.address}{PLACE}"
        act = lambda: _insist(["curl", "-sS", "--fail", "-C", "-", "-o", str(target), url])  # noqa: E731
        return _measure("curl -C -", link, Way.DOWN, act, lambda: _same(target, source))


def _hugging_face(address: str, source: Path, cuts: int, root: Path) -> Seen:
    cache = root / "hf"
    with _cut_link(address, Way.DOWN, source.stat().st_size, cuts) as link:
        environment = {"HF_ENDPOINT": f"http://{link.address}", "HF_HOME": str(root / "hf-home"), "HF_TOKEN": ""}
        environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        act = lambda: _insist([sys.executable, "-c", HUGGING_FACE, str(cache)], environment)  # noqa: E731

        def whole() -> bool:
            return any(_same(found, source) for found in cache.glob("models--bench--model/snapshots/*/weights.bin"))

        return _measure("huggingface_hub", link, Way.DOWN, act, whole)


def _rsync(address: str, source: Path, cuts: int, root: Path) -> Seen:
    target = root / "synced"
    with _cut_link(address, Way.DOWN, source.stat().st_size, cuts) as link:
        url = f"rsync://{link.address}/models/{source.name}"
        act = lambda: _insist(["rsync", "--partial", "--append-verify", url, str(target)])  # noqa: E731
        return _measure("rsync --partial --append-verify", link, Way.DOWN, act, lambda: _same(target, source))


def _same(found: Path, source: Path) -> bool:
    return found.is_file() and subprocess.run(["cmp", "-s", str(found), str(source)], check=False).returncode == 0


@contextmanager
def _nginx(root: Path, source: Path) -> Iterator[str]:
    """Serves the file without TLS, under the path and with the headers that huggingface_hub asks for."""
    work = root / "nginx"
    work.mkdir()
    address = f"127.0.0.1:{_free_port()}"
    temporary = "".join(f"{kind}_temp_path {work}/{kind}; " for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    (work / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {work}/pid; error_log {work}/error.log; user root;\n"
        f"events {{ }}\nhttp {{ access_log off; sendfile on; client_body_temp_path {work}/body; {temporary}\n"
        f"server {{ listen {address}; location = {PLACE} {{ add_header X-Repo-Commit {COMMIT}; "
        f"alias {source}; }} }} }}\n"
    )
    command = ["nginx", "-p", str(work), "-e", str(work / "start.log"), "-c", str(work / "nginx.conf")]
    with started(command, work / "nginx.log") as server:
        until(lambda: _answers(address), server.process)
        yield address


@contextmanager
def _rsync_daemon(root: Path, source: Path) -> Iterator[str]:
    work = root / "rsync"
    work.mkdir()
    port = _free_port()
    (work / "rsyncd.conf").write_text(
        f"use chroot = no\nuid = root\ngid = root\nport = {port}\naddress = 127.0.0.1\npid file = {work}/rsyncd.pid\n"
        f"[models]\npath = {source.parent}\nread only = yes\n"
    )
    command = ["rsync", "--daemon", "--no-detach", f"--config={work}/rsyncd.conf"]
    with started(command, work / "rsyncd.log") as server:
        until(lambda: _answers(f"127.0.0.1:{port}"), server.process)
        yield f"127.0.0.1:{port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
