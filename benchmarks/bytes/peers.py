"""The only place that runs the tools of today: how many bytes each needs to bring `new` to one who holds `old`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.bytes.relay import relay
from benchmarks.lab import started, until

PROGRAMS = {"rsync": "rsync", "zstd": "zstd", "xdelta3": "xdelta3", "casync": "casync", "borg": "borgbackup"}

ZSTD_LEVELS = (3, 12)


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes to send, and seconds on one machine."""

    bytes: int
    seconds: float


Tool = Callable[[Path | None, Path, Path], int | None]


def missing() -> list[str]:
    """Debian packages of the programs that are not installed."""
    return [package for program, package in PROGRAMS.items() if shutil.which(program) is None]


def costs(old: Path | None, new: Path, work: Path) -> dict[str, Cost]:
    """By the tool's name; those that need a base are left out without one."""
    found = {}
    for name, tool in TOOLS.items():
        folder = work / name.replace(" ", "-")
        folder.mkdir(parents=True)
        began = time.monotonic()
        size = tool(old, new, folder)
        if size is not None:
            found[name] = Cost(size, time.monotonic() - began)
        shutil.rmtree(folder)
    return found


def kept(old: Path | None, new: Path, work: Path) -> dict[str, Cost]:
    """The same, measured once for each pair and kept beside it: what others send does not change with us."""
    path = new.with_name("peers.json")
    if not path.exists():
        found = costs(old, new, work)
        path.write_text(json.dumps({name: asdict(cost) for name, cost in found.items()}, indent=1))
    return {name: Cost(**cost) for name, cost in json.loads(path.read_text()).items()}


def rsync(old: Path | None, new: Path, work: Path) -> int | None:
    """`rsync -z` from its daemon over a counting relay, both directions."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (work / "rsyncd.conf").write_text(
        f"use chroot = no\nuid = root\ngid = root\nport = {port}\naddress = 127.0.0.1\npid file = {work}/rsyncd.pid\n"
        f"[models]\npath = {new.parent}\nread only = yes\n"
    )
    target = work / new.name
    if old is not None:
        shutil.copyfile(old, target)
    command = ["rsync", "--daemon", "--no-detach", f"--config={work}/rsyncd.conf"]
    with started(command, work / "log") as server, relay(f"127.0.0.1:{port}") as counting:
        until((work / "rsyncd.pid").exists, server.process)
        _until_open(port)
        source = f"rsync://{counting.address}/models/{new.name}"
        _run("rsync", "-z", "--no-whole-file", "--ignore-times", source, str(target))
        up, down = counting.counted()
    _same(new, target)
    return up + down


def zstd(old: Path | None, new: Path, work: Path) -> int | None:
    """The old file as dictionary; alone when there is none. Its levels differ by a factor on some pairs: the best."""
    given = ["--long=31"] if old is None else ["--long=31", f"--patch-from={old}"]
    sizes = []
    for level in ZSTD_LEVELS:
        patch = work / f"patch{level}"
        _run("zstd", "-q", f"-{level}", *given, str(new), "-o", str(patch))
        _run("zstd", "-q", "-d", "-f", *given, str(patch), "-o", str(work / "back"))
        _same(new, work / "back")
        sizes.append(patch.stat().st_size)
    return min(sizes)


def xdelta3(old: Path | None, new: Path, work: Path) -> int | None:
    """With a source window of the whole old file."""
    if old is None:
        return None
    patch = work / "patch"
    window = ["-B", str(max(old.stat().st_size, 1 << 20))]
    _run("xdelta3", "-q", "-e", *window, "-s", str(old), str(new), str(patch))
    _run("xdelta3", "-q", "-d", *window, "-s", str(old), str(patch), str(work / "back"))
    _same(new, work / "back")
    return patch.stat().st_size


def casync(old: Path | None, new: Path, work: Path) -> int | None:
    """Chunks that a store with the old file lacks, as it stores them, and the index."""
    store, index = work / "store", work / "new.caibx"
    before = 0
    if old is not None:
        _run("casync", "make", f"--store={store}", str(work / "old.caibx"), str(old))
        before = _size(store)
    _run("casync", "make", f"--store={store}", str(index), str(new))
    return _size(store) - before + index.stat().st_size


def borg(old: Path | None, new: Path, work: Path) -> int | None:
    """The deduplicated size that borg reports of an archive with zstd 3, in a repository that has the old file."""
    repository = str(work / "repository")
    environment = {
        **os.environ,
        "BORG_BASE_DIR": str(work / "base"),
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
    }
    _run("borg", "init", "-e", "none", repository, environment=environment)
    said = ""
    for name, path in (("old", old), ("new", new)):
        if path is not None:
            command = ("borg", "create", "--json", "-C", "zstd,3", f"{repository}::{name}", str(path))
            said = _run(*command, environment=environment)
    return int(json.loads(said)["archive"]["stats"]["deduplicated_size"])


def hf_xet(old: Path | None, new: Path, work: Path) -> int | None:
    """What the library says that it uploaded (chunks compressed as it sees fit, and the shard) to a local store."""
    from hf_xet import XetConfig, XetSession  # noqa: PLC0415 - starts threads of its own

    config = XetConfig().with_config({"telemetry.enabled": False})
    uploaded = 0
    for path in (old, new):
        if path is not None:
            commit = XetSession(config).new_upload_commit(endpoint=f"local://{work}")
            commit.start_upload_file(str(path))
            uploaded = int(commit.wait_to_finish().dedup_metrics.total_bytes_uploaded)
    return uploaded


TOOLS: dict[str, Tool] = {
    "rsync -z": rsync,
    "zstd --patch-from": zstd,
    "xdelta3": xdelta3,
    "casync": casync,
    "borg": borg,
    "hf_xet": hf_xet,
}


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def _until_open(port: int) -> None:
    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until(answers)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _same(one: Path, other: Path) -> None:
    if one.read_bytes() != other.read_bytes():
        raise RuntimeError(f"{other} is not what {one} is")
