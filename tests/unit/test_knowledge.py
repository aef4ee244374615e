"""A knowledge base is laid out, read back, and never leads out of its version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelsyncd.client.knowledge import INDEX, Knowledge, lay_out, read_index
from modelsyncd.errors import BadInputError, HostilePathError, InvalidNameError, ModelsyncError, NotFoundError


@pytest.fixture
def made(tmp_path: Path) -> Knowledge:
    (tmp_path / "night.onnx").write_bytes(b"night")
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "model.onnx").write_bytes(b"day")
    (tmp_path / "seen").mkdir()
    (tmp_path / "seen" / "1.json").write_text("{}")
    (tmp_path / "kb").mkdir()
    tasks = {"night": tmp_path / "night.onnx", "day": tmp_path / "day"}
    return lay_out(tmp_path / "kb", tasks, {"night": {"light": "low"}}, tmp_path / "seen")


def test_what_was_laid_out_is_found_by_task_and_attribute(made: Knowledge) -> None:
    known = Knowledge.at(made.folder)
    assert known.task("night").read_bytes() == b"night"
    assert (known.task("day") / "model.onnx").read_bytes() == b"day"
    assert [task.name for task in known.matching(light="low")] == ["night"]
    assert [task.name for task in known.matching()] == ["day", "night"]
    assert known.samples == made.folder / "samples"
    with pytest.raises(NotFoundError) as error:
        known.task("nihgt")
    assert "night" in error.value.hint


def test_the_next_one_takes_over_what_is_not_named(made: Knowledge, tmp_path: Path) -> None:
    (tmp_path / "night2.onnx").write_bytes(b"night 2")
    (tmp_path / "next").mkdir()
    known = lay_out(tmp_path / "next", {"night": tmp_path / "night2.onnx"}, {"day": {"light": "high"}}, before=made)
    assert known.task("night").read_bytes() == b"night 2"
    assert (known.task("day") / "model.onnx").read_bytes() == b"day"
    assert [task.name for task in known.matching(light="high")] == ["day"]
    assert [task.name for task in known.matching(light="low")] == ["night"], "what a task is for outlives its model"
    assert known.samples is not None
    assert sorted(path.name for path in (tmp_path / "next" / "tasks" / "night").iterdir()) == ["night2.onnx"]


def test_the_same_tasks_are_the_same_bytes(made: Knowledge, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    lay_out(
        tmp_path / "again", {"day": tmp_path / "day", "night": tmp_path / "night.onnx"}, {"night": {"light": "low"}}
    )
    assert (tmp_path / "again" / INDEX).read_bytes() == (made.folder / INDEX).read_bytes()


@pytest.mark.parametrize(
    ("index", "kind"),
    [
        (b"{", BadInputError),
        (b"[]", BadInputError),
        (b'{"format": 2, "tasks": {}}', BadInputError),
        (b'{"format": 1, "tasks": {"a": {}}}', BadInputError),
        (b'{"format": 1, "tasks": {"a": {"path": "../../etc/passwd"}}}', HostilePathError),
        (b'{"format": 1, "tasks": {"a": {"path": "/etc/passwd"}}}', HostilePathError),
        (b'{"format": 1, "tasks": {"../a": {"path": "x"}}}', InvalidNameError),
        (b'{"format": 1, "tasks": {"a": {"path": "x", "attributes": {"k": 1}}}}', BadInputError),
        (b'{"format": 1, "tasks": {"a": {"path": "x", "attributes": []}}}', BadInputError),
        (b"[" * 100_000, BadInputError),
    ],
)
def test_an_index_that_is_not_right_or_not_safe_is_refused(index: bytes, kind: type[ModelsyncError]) -> None:
    with pytest.raises(kind):
        read_index(index)


def test_a_version_without_an_index_is_no_knowledge_base(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no knowledge base"):
        Knowledge.at(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps({"format": 1, "tasks": {"a": {"path": "gone"}}}))
    with pytest.raises(NotFoundError, match="no task 'a'"):
        Knowledge.at(tmp_path).task("a")


def test_what_can_not_be_laid_out_is_told(tmp_path: Path) -> None:
    (tmp_path / "kb").mkdir()
    with pytest.raises(NotFoundError, match="the model of task a"):
        lay_out(tmp_path / "kb", {"a": tmp_path / "none"}, {})
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(BadInputError, match="is no task"):
        lay_out(tmp_path / "kb", {"a": tmp_path / "x"}, {"b": {"k": "v"}})
    with pytest.raises(InvalidNameError):
        lay_out(tmp_path / "kb", {"A/..": tmp_path / "x"}, {})
