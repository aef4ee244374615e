"""Whoever looks into a job's folder, or is killed while writing it, at whatever moment, finds a whole model there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pytest

from edge_agent.sedna import names
from edge_agent.sedna.folder import Folder
from edge_agent.sedna.jobs import Place
from modelsyncd.digest import digest_of
from modelsyncd.names import parse_model
from modelsyncd.store import failpoints
from modelsyncd.store.failpoints import Point
from modelsyncd.store.version import Version
from tests.fakes.memory_disk import memory_disk

CONTENTS = {number: b"model %d " % number * 1_000 for number in (1, 2)}
VERSIONS = {number: Version(parse_model("a/b"), number, digest_of(data)) for number, data in CONTENTS.items()}
KINDS = ["linked", "named", "copied"]


class Killed(BaseException):
    """The process ended here."""


def laid(root: Path) -> dict[int, Path]:
    """The files of both versions."""
    found = {}
    for number, version in VERSIONS.items():
        path = root / "data/models" / version.folder_name / "model.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENTS[number])
        found[number] = path
    return found


def folder(root: Path, kind: str) -> Folder:
    seen_as = None if kind == "linked" else PurePosixPath("/model-hot-update")
    made = Folder(Place(root / "data/job", seen_as), root / "data")
    made._copies = kind == "copied"
    return made


def show(root: Path, kind: str, number: int) -> None:
    """A life of the agent: it starts, looks, and shows this version."""
    files, made = laid(root), folder(root, kind)
    made.prepare()
    made.show_candidate(files[number], VERSIONS[number].folder_name)
    made.show(files[number], VERSIONS[number].folder_name)
    made.pair(*[(files[number], VERSIONS[number].folder_name)] * 2)


def seen(root: Path) -> tuple[int, int]:
    """The numbers that a worker finds: by the word, and under the name that never changes. Each is whole."""
    job = root / "data/job"
    said = json.loads((job / names.CONFIG).read_text())["model_config"]
    told = names.number_in(said["model_update_time"])
    path = job / Path(said["model_path"]).name  # the job may see the folder elsewhere
    assert path.read_bytes() == CONTENTS[told]
    stable = (job / "model.pth").read_bytes()
    return told, next(number for number, content in CONTENTS.items() if content == stable)


@pytest.fixture
def disk() -> Iterator[Path]:
    with memory_disk() as folder:
        yield folder


@contextmanager
def meeting(met: Callable[[Point], None]) -> Iterator[None]:
    failpoints.watch(met)
    try:
        yield
    finally:
        failpoints.watch(None)


def passings(root: Path, kind: str) -> int:
    show(root, kind, 1)
    met: list[Point] = []
    with meeting(met.append):
        show(root, kind, 2)
    return len(met)


@pytest.mark.parametrize("kind", KINDS)
def test_at_every_moment_the_word_and_the_name_lead_to_a_whole_model_and_the_name_is_never_behind(
    tmp_path: Path, kind: str
) -> None:
    show(tmp_path, kind, 1)
    assert seen(tmp_path) == (1, 1)
    sights = set()
    with meeting(lambda _: sights.add(seen(tmp_path))):
        show(tmp_path, kind, 2)
    assert sights == {(1, 1), (1, 2), (2, 2)}


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_is_killed_at_any_moment_ends_in_a_right_one_at_the_next_start(disk: Path, kind: str) -> None:
    count = passings(disk / "count", kind)
    assert count >= 10
    for last in range(1, count + 1):
        root = disk / str(last)
        show(root, kind, 1)
        met: list[Point] = []

        def meet(point: Point, met: list[Point] = met, last: int = last) -> None:
            met.append(point)
            if len(met) == last:
                raise Killed

        with pytest.raises(Killed), meeting(meet):
            show(root, kind, 2)
        assert seen(root) in {(1, 1), (1, 2), (2, 2)}
        show(root, kind, 2)
        assert seen(root) == (2, 2)
        assert [path.name for path in (root / "data/job").iterdir() if path.name.startswith(".")] == []
