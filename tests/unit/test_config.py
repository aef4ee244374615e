"""Settings: a TOML file and flags become one frozen dataclass, or an error that helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelsyncd.daemon.config import load
from modelsyncd.errors import BadInputError, NotFoundError


@dataclass(frozen=True, slots=True)
class Disk:
    keep: int = 2
    reserve: float = 0.1

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise BadInputError("disk.keep must be at least 1")


@dataclass(frozen=True, slots=True)
class Settings:
    hub: str
    data: Path = Path("/var/lib/x")
    verbose: bool = False
    invite: str | None = None
    command: tuple[str, ...] = ()
    disk: Disk = field(default_factory=Disk)


@dataclass(frozen=True, slots=True)
class Strict:
    server: Settings


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    return path


def test_a_file_fills_every_field_with_its_type(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        'hub = "h:1"\ndata = "/d"\nverbose = true\ninvite = "i"\ncommand = ["a", "b"]\n[disk]\nkeep = 3\nreserve = 1\n',
    )
    assert load(Settings, path, {}) == Settings("h:1", Path("/d"), True, "i", ("a", "b"), Disk(3, 1.0))


def test_a_flag_wins_over_the_file_and_an_absent_flag_does_not(tmp_path: Path) -> None:
    path = file(tmp_path, 'hub = "file:1"\n[disk]\nkeep = 3\n')
    loaded = load(Settings, path, {"hub": "flag:1", "data": None, "disk.reserve": 0.5, "verbose": True})
    assert loaded == Settings("flag:1", verbose=True, disk=Disk(3, 0.5))


def test_flags_alone_are_enough() -> None:
    assert load(Settings, None, {"hub": "h:1", "data": Path("/d")}) == Settings("h:1", Path("/d"))


@pytest.mark.parametrize(
    ("text", "near"),
    [("hubb = 'h'", "hub?"), ("hub = 'h'\n[disk]\nkeeep = 1", "disk.keep?"), ("hub = 'h'\n[disc]\nkeep = 1", "disk?")],
)
def test_an_unknown_setting_names_the_file_and_the_nearest_right_one(tmp_path: Path, text: str, near: str) -> None:
    with pytest.raises(BadInputError, match=r"agent\.toml: there is no setting") as caught:
        load(Settings, file(tmp_path, text), {})
    assert caught.value.hint == f"did you mean {near}"


def test_an_unknown_setting_like_none_of_ours_lists_ours(tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as caught:
        load(Settings, file(tmp_path, "zzz = 1"), {})
    assert "hub, data, verbose" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hub = 5", "hub must be a text"),
        ("hub = 'h'\ndata = ''", "data must be a path"),
        ("hub = 'h'\nverbose = 1", "verbose must be true or false"),
        ("hub = 'h'\ncommand = 'a b'", "command must be a list"),
        ("hub = 'h'\ncommand = ['a', 1]", "command must be a list"),
        ("hub = 'h'\ndisk = 7", r"disk must be a section, \[disk\]"),
        ("hub = 'h'\n[disk]\nkeep = true", "disk.keep must be a whole number"),
        ("hub = 'h'\n[disk]\nkeep = 1.5", "disk.keep must be a whole number"),
        ("hub = 'h'\n[disk]\nreserve = 'x'", "disk.reserve must be a number"),
        ("hub = 'h'\n[disk]\nkeep = 0", "at least 1"),
    ],
)
def test_a_value_of_the_wrong_kind_says_which_and_what_it_must_be(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        load(Settings, file(tmp_path, text), {})


def test_a_flag_below_a_plain_value_does_not_hide_the_error(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="disk must be a section"):
        load(Settings, file(tmp_path, "hub = 'h'\ndisk = 7"), {"disk.keep": 3})


def test_a_missing_setting_shows_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="the setting hub is missing") as caught:
        load(Settings, file(tmp_path, ""), {})
    assert 'hub = "…"' in caught.value.hint
    with pytest.raises(BadInputError, match=r"server\.hub is missing") as caught:
        load(Strict, None, {})
    assert "[server]" in caught.value.hint


def test_a_file_that_is_not_toml_says_where(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"agent\.toml is not TOML.*line 1"):
        load(Settings, file(tmp_path, "hub = = 1"), {})


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no settings file .*agent\.toml"):
        load(Settings, tmp_path / "agent.toml", {})


@dataclass(frozen=True, slots=True)
class Fleet:
    disks: Mapping[str, Disk] = field(default_factory=dict)


def test_a_section_may_have_names_that_the_file_chose(tmp_path: Path) -> None:
    path = file(tmp_path, '[disks."acme/helmet@stable"]\nkeep = 3\n[disks.other]\n')
    assert load(Fleet, path, {}) == Fleet({"acme/helmet@stable": Disk(3), "other": Disk()})
    assert load(Fleet, None, {}) == Fleet()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[disks."a@b"]\nkeeep = 1', "there is no setting 'disks.\"a@b\".keeep'"),
        ("[disks]\nkeep = 1", 'disks."keep" must be a section'),
        ("disks = 1", "disks must be a section"),
    ],
)
def test_an_error_below_a_chosen_name_says_which(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        load(Fleet, file(tmp_path, text), {})
    assert message in caught.value.message
