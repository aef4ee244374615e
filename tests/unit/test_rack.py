"""The folder that jobs in the cloud keep versions in: what counts as whole there, and what may go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelsyncd.digest import digest_of
from modelsyncd.exchange.rack import Rack, Racked, open_rack
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.store.durable import lock_folder
from modelsyncd.store.leases import hold, seize
from modelsyncd.store.source import scan
from modelsyncd.store.version import Version
from modelsyncd.wire.nouns import encode_manifest

HELMET = ModelName("acme", "helmet")
STABLE = ModelRef(HELMET, channel="stable")
NOW = 2_000_000_000.0
DAY = 24 * 3600.0


@pytest.fixture
def rack(tmp_path: Path) -> Rack:
    return open_rack(tmp_path / "rack", keep=2)


def put(rack: Rack, number: int, at: float = 0.0) -> Racked:
    """A version as a fetch leaves it, used at this time."""
    version, manifest = place(rack, number)
    found = rack.enter(version, manifest)
    os.utime(found.folder.with_name(f"{found.folder.name}.manifest"), (at or NOW + number,) * 2)
    return found


def place(rack: Rack, number: int) -> tuple[Version, bytes]:
    """Its files alone."""
    made = rack.root.parent / "made"
    shutil.rmtree(made, ignore_errors=True)
    (made / "net").mkdir(parents=True)
    (made / "net" / "weights.bin").write_bytes(bytes([number]) * 1_000)
    (made / "run.sh").write_text("true\n")
    (made / "run.sh").chmod(0o755)
    with scan(made) as source:
        manifest = encode_manifest(source.manifest)
    version = Version(HELMET, number, digest_of(manifest))
    shutil.copytree(made, rack.folder(version))
    return version, manifest


def numbers(rack: Rack) -> list[int]:
    return [one.version.number for one in rack.versions(HELMET)]


def test_a_version_is_whole_once_its_manifest_is_beside_it(rack: Rack) -> None:
    version, manifest = place(rack, 1)
    assert rack.find(version) is None
    assert numbers(rack) == []
    found = rack.enter(version, manifest)
    assert rack.find(version) == found
    assert found.path == rack.folder(version)
    assert (found.path / "net" / "weights.bin").stat().st_mode & 0o777 == 0o444
    assert (found.path / "run.sh").stat().st_mode & 0o777 == 0o555


@pytest.mark.parametrize("harm", ["shorter", "gone", "manifest"])
def test_a_version_that_lost_its_shape_is_not_whole(rack: Rack, harm: str) -> None:
    found = put(rack, 1)
    weights = found.folder / "net" / "weights.bin"
    match harm:
        case "shorter":
            os.truncate(weights, 999)
        case "gone":
            weights.unlink()
        case _:
            found.folder.with_name(f"{found.folder.name}.manifest").write_bytes(b"\xff")
    assert rack.find(found.version) is None
    assert numbers(rack) == []


def test_another_content_under_the_same_number_is_another_version(rack: Rack) -> None:
    found = put(rack, 1)
    other = Version(HELMET, 1, digest_of(b"another"))
    assert rack.find(other) is None
    assert rack.find(found.version) == found


def test_the_versions_used_last_stay(rack: Rack) -> None:
    one, *_ = [put(rack, number) for number in (1, 2, 3, 4)]
    os.utime(one.folder.with_name(f"{one.folder.name}.manifest"), (NOW + DAY,) * 2)
    rack.tidy(HELMET, NOW)
    assert numbers(rack) == [4, 1]
    rack.tidy(HELMET, NOW)
    assert numbers(rack) == [4, 1]
    assert len(list((rack.root / "models" / "acme" / "helmet" / "versions").iterdir())) == 4
    assert sorted(path.name for path in (rack.root / "leases" / "acme" / "helmet").iterdir()) == []


def test_what_is_used_counts_from_now(rack: Rack) -> None:
    one, *_ = [put(rack, number, at=1_000.0 + number) for number in (1, 2, 3)]
    rack.use(one)
    rack.tidy(HELMET, NOW)
    assert numbers(rack) == [3, 1]


def test_what_is_held_or_led_to_stays(rack: Rack) -> None:
    one, two, *_ = [put(rack, number) for number in (1, 2, 3, 4, 5)]
    link = rack.switch(STABLE, two.version)
    assert link.resolve() == two.folder.resolve()
    with rack.hold(one.version):
        rack.tidy(HELMET, NOW)
        assert numbers(rack) == [5, 4, 2, 1]
    rack.tidy(HELMET, NOW)
    assert numbers(rack) == [5, 4, 2]
    assert rack.led_to(STABLE) == two.folder.name


def test_a_removal_that_was_cut_off_leaves_nothing_that_counts(rack: Rack) -> None:
    found = put(rack, 1)
    found.folder.with_name(f"{found.folder.name}.manifest").unlink()  # the first step of a removal
    put(rack, 2)
    put(rack, 3)
    assert numbers(rack) == [3, 2]
    rack.tidy(HELMET, NOW)
    assert not found.folder.exists()


def test_a_fetch_that_nobody_goes_on_with_goes_after_a_week(rack: Rack) -> None:
    put(rack, 1)
    versions = rack.root / "models" / "acme" / "helmet" / "versions"
    for name, age in (("old", 8 * DAY), ("new", 1 * DAY), ("busy", 8 * DAY)):
        path = versions / f".modelsyncd-{name}"
        path.mkdir()
        if name == "busy":
            lock = lock_folder(path, "lock")
        os.utime(path, (NOW - age,) * 2)
    rack.tidy(HELMET, NOW)
    assert sorted(path.name for path in versions.glob(".modelsyncd-*")) == [".modelsyncd-busy", ".modelsyncd-new"]
    lock.release()


def test_bases_are_those_with_the_greatest_numbers_and_read_only_when_needed(rack: Rack) -> None:
    found = [put(rack, number) for number in (1, 2, 3)]
    bases = rack.bases(HELMET)
    assert [one.name for one in bases] == [found[2].version.manifest, found[1].version.manifest]
    assert bases[0].source.read(0) == (found[2].folder / "net" / "weights.bin").read_bytes()
    for one in bases:
        one.source.close()


def test_holders_share_and_who_removes_has_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "leases" / "1"
    with hold(path), hold(path):
        assert seize(path) is None
    lock = seize(path)
    assert lock is not None
    assert seize(path) is None
    lock.release()


def test_a_lock_on_a_file_that_was_removed_is_worth_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl  # noqa: PLC0415

    path = tmp_path / "1"
    taken: list[int] = []
    flock = fcntl.flock

    def late(descriptor: int, how: int) -> None:
        flock(descriptor, how)
        if not taken:
            taken.append(descriptor)
            path.unlink()  # whoever had it alone removed it while we waited

    monkeypatch.setattr("modelsyncd.store.leases.fcntl.flock", late)
    with hold(path):
        monkeypatch.undo()
        assert path.exists()
        assert seize(path) is None


def test_a_holder_that_dies_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "1"
    program = (
        "import sys; from pathlib import Path; from modelsyncd.store.leases import hold\n"
        f"lock = hold(Path({str(path)!r})); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert seize(path) is None
        holder.kill()
        holder.wait()
    lock = seize(path)
    assert lock is not None
    lock.release()
