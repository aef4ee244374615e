"""A version is whole under its name or not there; a switch is one rename; the files are all there is to know."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, ConflictError, DamageError, InvalidNameError, NotFoundError
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.release import SignedRelease
from modelsyncd.store.layout import staged_digest
from modelsyncd.store.staging import Staging
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Damage, Version
from modelsyncd.wire import nouns
from tests.fakes.versions import HELMET, STEP, Published, changed, content_of, name_of, published, some_files

STABLE = ModelRef(HELMET, channel="stable")
FILES = some_files(random.Random(1))


@pytest.fixture
def tree(tmp_path: Path) -> EdgeTree:
    return opened(tmp_path)


def opened(tmp_path: Path) -> EdgeTree:
    tree = EdgeTree(tmp_path / "data", nouns)
    tree.prepare()
    return tree


def staged(tree: EdgeTree, what: Published) -> Staging:
    tree.put_manifest(what.offer.manifest, what.manifest_bytes)
    staging = Staging(tree.layout.staged(what.offer.manifest), what.manifest)
    staging.prepare()
    staging.write([(ordinal, what.chunks[ordinal]) for ordinal in staging.missing()])
    return staging


def install(tree: EdgeTree, what: Published) -> Version:
    tree.install(what.version, what.offer.release, staged(tree, what))
    return what.version


def version_of(number: int) -> Published:
    return published(changed(FILES, "model.bin", 5, b"%6d" % number), number)


def test_an_installed_version_is_held_and_byte_for_byte_there(tree: EdgeTree, tmp_path: Path) -> None:
    what = version_of(3)
    version = install(tree, what)
    folder = tmp_path / "data/models/acme/helmet/versions" / f"3-{what.offer.manifest.hex()[:12]}"
    assert content_of(folder) == what.files
    assert tree.layout.version(version) == folder
    assert tree.versions() == [version]
    assert tree.versions(ModelName("acme", "other")) == []
    assert tree.release(version) == what.release
    assert tree.signed(version) == what.offer.release
    assert tree.observed().staged == frozenset()


def test_another_look_at_the_same_files_sees_the_same(tree: EdgeTree, tmp_path: Path) -> None:
    first, second = install(tree, version_of(1)), install(tree, version_of(2))
    tree.activate(STABLE, first)
    tree.activate(STABLE, second)
    tree.quarantine(first)
    tree.put_manifest(digest_of(version_of(3).manifest_bytes), version_of(3).manifest_bytes)
    seen = EdgeTree(tmp_path / "data", nouns).observed()
    assert seen == tree.observed()
    assert seen.held == {second}
    assert seen.damaged == {first}
    assert seen.active == {STABLE: second}
    assert seen.previous == {STABLE: first}
    assert seen.staged == {version_of(3).offer.manifest}


def test_looking_at_a_folder_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    seen = EdgeTree(tmp_path / "none", nouns).observed()
    assert (seen.held, seen.active, seen.staged) == (frozenset(), {}, frozenset())
    assert not (tmp_path / "none").exists()


def test_a_channel_leads_to_the_version_by_a_relative_link(tree: EdgeTree) -> None:
    what = version_of(1)
    tree.activate(STABLE, install(tree, what))
    link = tree.layout.channel(STABLE)
    assert str(link.readlink()) == f"versions/1-{what.offer.manifest.hex()[:12]}"
    assert content_of(link) == what.files
    assert tree.active(STABLE) == what.version
    assert tree.previous(STABLE) is None
    assert tree.active_since(STABLE) > 0


def test_going_back_is_a_switch_like_any_other(tree: EdgeTree) -> None:
    first, second = install(tree, version_of(1)), install(tree, version_of(2))
    for version in (first, second, second, first):
        tree.activate(STABLE, version)
    assert tree.active(STABLE) == first
    assert tree.previous(STABLE) == second


def test_channels_of_a_model_are_independent(tree: EdgeTree) -> None:
    canary = ModelRef(HELMET, channel="canary")
    first, second = install(tree, version_of(1)), install(tree, version_of(2))
    tree.activate(STABLE, first)
    tree.activate(canary, second)
    assert tree.observed().active == {STABLE: first, canary: second}
    tree.unlink(canary)
    assert tree.observed().active == {STABLE: first}
    assert tree.versions() == [first, second], "versions of a channel that is not followed stay as seeds"
    tree.unlink(canary)


def test_a_version_that_is_not_here_is_not_switched_to(tree: EdgeTree) -> None:
    tree.activate(STABLE, install(tree, version_of(1)))
    with pytest.raises(NotFoundError):
        tree.activate(STABLE, version_of(2).version)
    assert tree.active(STABLE) == version_of(1).version


def test_a_link_to_nowhere_or_to_strangers_is_no_active_version(tree: EdgeTree) -> None:
    install(tree, version_of(1))
    link = tree.layout.channel(STABLE)
    for target in ("versions/9-000000000000", "/etc", "../../.."):
        link.symlink_to(target)
        assert tree.active(STABLE) is None
        assert tree.observed().active == {}
        link.unlink()


def test_a_name_that_leads_elsewhere_is_no_path(tree: EdgeTree) -> None:
    with pytest.raises(InvalidNameError):
        tree.layout.channel(ModelRef(HELMET, channel="../../../etc"))
    with pytest.raises(InvalidNameError):
        tree.layout.model(ModelName("..", "x"))


def test_a_removed_version_takes_its_papers_along(tree: EdgeTree, tmp_path: Path) -> None:
    first, second = install(tree, version_of(1)), install(tree, version_of(2))
    tree.activate(STABLE, second)
    tree.remove(first)
    assert tree.versions() == [second]
    data = tmp_path / "data"
    assert [path.name for path in (data / "manifests").iterdir()] == [second.manifest.hex()]
    assert len(list((data / "releases").iterdir())) == 1
    assert [path.name for path in tree.layout.version(second).parent.iterdir()] == [second.folder_name]


def test_the_active_version_is_not_removed(tree: EdgeTree) -> None:
    version = install(tree, version_of(1))
    tree.activate(STABLE, version)
    with pytest.raises(ConflictError, match="stable"):
        tree.remove(version)
    assert tree.holds(version)


def test_what_was_previous_and_is_gone_is_not_previous(tree: EdgeTree) -> None:
    first, second = install(tree, version_of(1)), install(tree, version_of(2))
    tree.activate(STABLE, first)
    tree.activate(STABLE, second)
    tree.remove(first)
    assert tree.previous(STABLE) is None


def test_the_same_content_under_two_names_is_two_versions_that_share_a_manifest(tree: EdgeTree) -> None:
    other = published(FILES, 1, model=ModelName("acme", "vest"))
    here, there = install(tree, published(FILES, 1)), install(tree, other)
    assert here.manifest == there.manifest
    assert len(tree.folders(here.manifest)) == 2
    tree.remove(here)
    assert tree.manifest(there.manifest) == other.manifest


def test_discarding_leaves_no_trace(tree: EdgeTree, tmp_path: Path) -> None:
    what = version_of(1)
    staged(tree, what)
    assert tree.staged() == {what.offer.manifest}
    tree.discard(what.offer.manifest)
    assert tree.staged() == frozenset()
    assert list((tmp_path / "data/manifests").iterdir()) == []
    tree.discard(what.offer.manifest)


def test_what_a_killed_process_left_is_cleared_and_what_it_needs_stays(tree: EdgeTree, tmp_path: Path) -> None:
    version = install(tree, version_of(1))
    tree.activate(STABLE, version)
    staged(tree, version_of(2))
    data = tmp_path / "data"
    versions = tree.layout.version(version).parent
    (versions / ".9-aaaaaaaaaaaa.gone").mkdir()
    (versions.parent / ".stable.new").symlink_to("versions/9")
    (data / "manifests/.x.new").write_bytes(b"")
    (data / "manifests" / ("a" * 64)).write_bytes(b"orphan")
    tree._keep_release(version_of(5).offer.release)
    (data / "releases/unreadable").write_bytes(b"\xff\xff")
    again = opened(tmp_path)
    assert again.observed() == tree.observed()
    assert [path.name for path in versions.iterdir()] == [version.folder_name]
    assert not (versions.parent / ".stable.new").is_symlink()
    known = {version.manifest.hex(), version_of(2).offer.manifest.hex()}
    assert {path.name for path in (data / "manifests").iterdir()} == known
    assert {path.name for path in (data / "releases").iterdir()} == {
        digest_of(version_of(1).offer.release.release).hex(),
        "unreadable",
    }, "what we can't read may be a newer version's: it is not ours to remove"


def test_a_version_without_its_release_is_not_held_and_is_adopted_after_a_look(tree: EdgeTree, tmp_path: Path) -> None:
    what = version_of(1)
    install(tree, what)
    (release,) = (tmp_path / "data/releases").iterdir()
    release.unlink()
    again = EdgeTree(tmp_path / "data", nouns)
    assert not again.holds(what.version)
    assert again.adopt(what.version, what.offer.release)
    assert again.holds(what.version)
    assert EdgeTree(tmp_path / "data", nouns).holds(what.version)


def test_a_version_that_is_not_whole_is_not_adopted(tree: EdgeTree, tmp_path: Path) -> None:
    what = version_of(1)
    folder = tree.layout.version(install(tree, what))
    (release,) = (tmp_path / "data/releases").iterdir()
    release.unlink()
    spoil(folder / "model.bin", 2 * STEP)
    again = EdgeTree(tmp_path / "data", nouns)
    assert not again.adopt(what.version, what.offer.release)
    assert not again.adopt(version_of(2).version, what.offer.release)
    assert not again.holds(what.version)


def spoil(path: Path, offset: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def test_verify_names_each_damaged_chunk_and_nothing_else(tree: EdgeTree) -> None:
    what = version_of(1)
    version = install(tree, what)
    assert list(tree.verify(version)) == []
    folder = tree.layout.version(version)
    spoil(folder / "model.bin", 2 * STEP + 9)
    (folder / "labels/en.txt").unlink()
    with (folder / "empty").open("ab") as file:
        file.write(b"x")
    third = what.chunks.index(what.files["model.bin"][2 * STEP : 3 * STEP])
    label = what.chunks.index(what.files["labels/en.txt"])
    found = {(damage.file, damage.ordinal) for damage in tree.verify(version)}
    assert found == {("empty", None), ("labels/en.txt", None), ("labels/en.txt", label), ("model.bin", third)}


def test_verify_notices_a_manifest_that_rotted(tree: EdgeTree) -> None:
    version = install(tree, version_of(1))
    spoil(tree.layout.manifest(version.manifest), 20)
    assert list(tree.verify(version)) == [Damage(version, "", None)]
    assert not tree.has_manifest(version.manifest)
    with pytest.raises(DamageError):
        tree.manifest(version.manifest)


def test_a_damaged_version_is_not_held_and_not_switched_to_but_still_served(tree: EdgeTree, tmp_path: Path) -> None:
    what = version_of(1)
    version = install(tree, what)
    tree.activate(STABLE, version)
    EdgeTree(tmp_path / "data", nouns).quarantine(version)  # another process, as `verify` is one
    assert tree.observed().damaged == {version}
    assert tree.observed().active == {STABLE: version}
    assert not tree.holds(version)
    assert content_of(tree.layout.channel(STABLE)) == what.files
    with pytest.raises(DamageError):
        tree.activate(ModelRef(HELMET, channel="canary"), version)


def test_a_damaged_version_is_repaired_in_place_while_it_is_read(tree: EdgeTree) -> None:
    what = version_of(1)
    version = install(tree, what)
    tree.activate(STABLE, version)
    link = tree.layout.channel(STABLE)
    (link / "cache of a job").write_bytes(b"x")
    untouched = (link / "labels/en.txt").stat().st_ino
    spoil(tree.layout.version(version) / "model.bin", 0)
    with (link / "model.bin").open("rb") as reader:
        tree.quarantine(version)
        tree.install(version, what.offer.release, staged(tree, what))
        assert len(reader.read()) == len(what.files["model.bin"]), "an open file stays readable"
    assert content_of(link) == {**what.files, "cache of a job": b"x"}
    assert (link / "labels/en.txt").stat().st_ino == untouched
    assert tree.holds(version)
    assert tree.observed().staged == frozenset()


def test_a_repair_leads_nowhere_through_planted_links(tree: EdgeTree, tmp_path: Path) -> None:
    what = version_of(1)
    folder = tree.layout.version(install(tree, what))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "en.txt").write_bytes(b"precious")
    (folder / "labels/en.txt").unlink()
    (folder / "labels").rmdir()
    (folder / "labels").symlink_to(outside)
    (folder / "empty").unlink()
    (folder / "empty").mkdir()
    assert list(tree.verify(what.version))
    tree.install(what.version, what.offer.release, staged(tree, what))
    assert content_of(folder) == what.files
    assert content_of(outside) == {"en.txt": b"precious"}


def test_the_path_of_a_model_of_one_file_is_that_file(tree: EdgeTree) -> None:
    assert tree.content(install(tree, published({"detector.onnx": b"x" * 9}, 7))) == "detector.onnx"
    assert tree.content(install(tree, version_of(8))) == ""


def test_bytes_that_are_another_manifest_are_refused(tree: EdgeTree) -> None:
    with pytest.raises(DamageError):
        tree.put_manifest(version_of(1).offer.manifest, version_of(2).manifest_bytes)
    with pytest.raises(BadInputError):
        tree.put_manifest(digest_of(b"\xff\xff"), b"\xff\xff")
    assert list(tree.layout.manifests.iterdir()) == []


def test_papers_that_are_not_here_or_not_right_are_said_so(tree: EdgeTree) -> None:
    with pytest.raises(NotFoundError):
        tree.release(version_of(1).version)
    with pytest.raises(NotFoundError):
        tree.manifest(version_of(1).offer.manifest)
    version = install(tree, version_of(1))
    path = tree.layout.release(tree.release_digest(version))
    path.write_bytes(nouns.encode_signed(SignedRelease(version_of(2).offer.release.release)))
    with pytest.raises(DamageError):
        tree.signed(version)


def test_names_in_staging_that_are_not_ours_are_nobody(tree: EdgeTree) -> None:
    for name in ("lost+found", "a" * 63, "A" * 64, ".x"):
        (tree.layout.staging / name).mkdir()
    assert tree.staged() == frozenset()
    assert staged_digest("a" * 64 + ".manifest") == bytes.fromhex("a" * 64)


def test_a_reader_sees_one_of_two_versions_through_a_thousand_switches(tree: EdgeTree) -> None:
    versions = [install(tree, version_of(1)), install(tree, version_of(2))]
    valid = {name_of(version_of(1).files), name_of(version_of(2).files)}
    tree.activate(STABLE, versions[0])
    link = tree.layout.channel(STABLE)
    done = threading.Event()
    seen: list[bytes] = []
    models: set[bytes] = set()
    failures: list[Exception] = []

    def read() -> None:
        try:
            while not done.is_set():
                models.add((link / "model.bin").read_bytes())
                folder = link.resolve(strict=True)  # a job with several files resolves once, then reads
                seen.append(name_of(content_of(folder)))
        except OSError as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(1_000):
        tree.activate(STABLE, versions[(turn + 1) % 2])
    done.set()
    reader.join()
    assert not failures
    assert len(seen) > 50
    assert set(seen) <= valid
    assert len(set(seen)) == 2
    assert models == {version_of(1).files["model.bin"], version_of(2).files["model.bin"]}
