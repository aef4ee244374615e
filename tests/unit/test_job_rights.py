"""What a caller may do follows from the node's settings, and from defaults that give nothing away."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.callers import NOBODY, Caller, Tokens, local_user
from edge_agent.job_rights import Grant, Right, Rights
from edge_agent.readable import demand_same, look
from modelsyncd.errors import BadInputError, NotFoundError, RefusedError, SourceChangedError
from modelsyncd.names import ModelName, ModelRef

HELMET = ModelName("acme", "helmet")
STABLE, CANARY, BARE = ModelRef(HELMET, channel="stable"), ModelRef(HELMET, channel="canary"), ModelRef(HELMET)
OTHER = ModelRef(ModelName("other", "helmet"), channel="stable")
VISION = Caller("vision", frozenset({"vision", "1001", "group:ml", "group:100"}), 1_001, frozenset({100}), 7)
ROOT = Caller("root", frozenset({"root", "0"}), 0, owner=True)


def allowed(rights: Rights, caller: Caller, ref: ModelRef = STABLE) -> set[Right]:
    return {right for right in Right if rights.may(caller, right, ref)}


def test_by_default_users_read_and_confirm_and_callers_without_a_name_only_read() -> None:
    assert allowed(Rights(), VISION) == {Right.READ, Right.CONFIRM}
    assert allowed(Rights(), NOBODY) == {Right.READ}
    assert allowed(Rights(), ROOT) == set(Right)


def test_who_may_publish_may_record_and_who_may_not_read_may_not_confirm() -> None:
    rights = Rights({"vision": Grant(read=("other/*",), publish=("acme/*",))})
    assert allowed(rights, VISION) == {Right.PUBLISH, Right.RECORD}
    assert allowed(rights, VISION, OTHER) == {Right.READ, Right.CONFIRM}
    assert allowed(rights, ROOT) == set(Right)


@pytest.mark.parametrize("name", ["vision", "1001", "group:ml", "group:100"])
def test_a_section_is_for_a_user_or_a_group_by_name_or_number(name: str) -> None:
    assert Right.PUBLISH in allowed(Rights({name: Grant(publish=("acme/helmet",))}), VISION)
    assert Right.PUBLISH not in allowed(Rights({name: Grant(publish=("acme/helmet",))}), NOBODY)


def test_all_sections_of_a_caller_count_and_that_of_everybody_where_they_are_silent() -> None:
    rights = Rights(
        {
            "vision": Grant(publish=("acme/*",)),
            "group:ml": Grant(publish=("other/*",)),
            "*": Grant(publish=("third/*",), confirm=()),
        }
    )
    assert allowed(rights, VISION) == allowed(rights, VISION, OTHER) == {Right.READ, Right.PUBLISH, Right.RECORD}
    assert not rights.may(VISION, Right.PUBLISH, ModelRef(ModelName("third", "one")))
    assert rights.may(NOBODY, Right.PUBLISH, ModelRef(ModelName("third", "one")))


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("acme/helmet", {STABLE, CANARY, BARE}),
        ("acme/*", {STABLE, CANARY, BARE}),
        ("*", {STABLE, CANARY, BARE, OTHER}),
        ("acme/helmet@canary", {CANARY}),
        ("acme/helm?t@*", {STABLE, CANARY, BARE}),
        ("*/helmet@s*", {STABLE, OTHER}),
        ("acme/helm", set()),
    ],
)
def test_a_pattern_covers_models_and_channels(pattern: str, fits: set[ModelRef]) -> None:
    rights = Rights({"vision": Grant(publish=(pattern,))})
    assert {ref for ref in (STABLE, CANARY, BARE, OTHER) if rights.may(VISION, Right.PUBLISH, ref)} == fits


@pytest.mark.parametrize("pattern", ["acme", "acme/", "/helmet", "Acme/x", "acme/helmet@", "acme/hel met", "", "a/b/c"])
def test_a_pattern_that_covers_nothing_is_refused_at_the_start(pattern: str) -> None:
    with pytest.raises(BadInputError, match="no pattern"):
        Grant(publish=(pattern,))


def test_a_refusal_names_user_right_and_the_line_that_is_missing() -> None:
    with pytest.raises(RefusedError, match="user vision may not publish acme/helmet@canary") as caught:
        Rights().demand(VISION, Right.PUBLISH, CANARY)
    assert caught.value.hint.endswith('[rights."vision"] publish = ["acme/helmet"]')
    with pytest.raises(RefusedError, match="without a token may not confirm") as caught:
        Rights().demand(NOBODY, Right.CONFIRM, CANARY)
    assert '[rights."*"]' in caught.value.hint


def test_we_are_an_owner_and_so_is_root() -> None:
    assert local_user(os.geteuid(), [], 1).owner
    assert local_user(0, [], 1).owner
    stranger = local_user(54_321, [54_322], 9)
    assert not stranger.owner
    assert stranger.names == {"54321", "group:54322"}
    assert str(stranger) == "54321/9"


def test_a_token_stands_for_its_name(tmp_path: Path) -> None:
    (tmp_path / "one").write_text(" 0123456789abcdef\n")
    (tmp_path / "two").write_text("fedcba9876543210")
    tokens = Tokens({"one": tmp_path / "one", "two": tmp_path / "two"})
    assert tokens.caller("Bearer 0123456789abcdef") is NOBODY  # not read yet
    tokens.read()
    assert tokens.caller("Bearer 0123456789abcdef").name == "one"
    assert tokens.caller("bearer fedcba9876543210").names == {"two"}
    for said in ("", "Bearer ", "Bearer 0123456789abcde", "0123456789abcdef", "Basic 0123456789abcdef"):
        assert tokens.caller(said) is NOBODY


def test_tokens_that_can_not_be_read_again_stay_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("0123456789abcdef")
    tokens = Tokens({"one": tmp_path / "one"})
    tokens.read()
    (tmp_path / "one").write_text("")
    tokens.again()
    assert tokens.caller("Bearer 0123456789abcdef").known
    (tmp_path / "one").write_text("another-of-that-length")
    tokens.again()
    assert not tokens.caller("Bearer 0123456789abcdef").known


def test_a_token_that_is_not_there_or_could_be_guessed_stops_the_agent(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no token"):
        Tokens({"one": tmp_path / "one"}).read()
    (tmp_path / "one").write_text("short\n")
    with pytest.raises(BadInputError, match="shorter"):
        Tokens({"one": tmp_path / "one"}).read()


# --- who may read what is to be published ---


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's own folders, which nobody else may enter."""
    with tempfile.TemporaryDirectory(prefix="modelsyncd-") as name:
        Path(name).chmod(0o755)
        made = Path(name) / "made"
        (made / "deep").mkdir(parents=True)
        (made / "deep" / "file").write_text("x")
        yield made


def stranger(folder: Path, *, uid: int = 54_321, groups: frozenset[int] = frozenset()) -> Caller:
    return Caller("stranger", frozenset({"stranger"}), uid, groups)


def test_what_everybody_may_read_a_stranger_may_publish(folder: Path) -> None:
    seen = look(folder, stranger(folder))
    assert [Path(one.place).name for one in seen][-3:] == ["made", "deep", "file"]
    demand_same(folder, stranger(folder), seen)


@pytest.mark.parametrize(("place", "mode"), [("deep/file", 0o660), ("deep", 0o751), ("deep", 0o754), ("", 0o750)])
def test_what_a_stranger_may_not_read_it_may_not_publish(folder: Path, place: str, mode: int) -> None:
    (folder / place).chmod(mode)
    with pytest.raises(RefusedError, match="stranger may not read"):
        look(folder, stranger(folder))
    look(folder, stranger(folder, groups=frozenset({(folder / place).stat().st_gid})))
    look(folder, ROOT)


def test_an_owner_without_the_right_has_it_not_by_way_of_others(folder: Path) -> None:
    (folder / "deep" / "file").chmod(0o044)
    me = stranger(folder, uid=(folder / "deep" / "file").stat().st_uid)
    with pytest.raises(RefusedError):
        look(folder, me)


def test_a_folder_on_the_way_that_may_not_be_searched_hides_all_below(folder: Path) -> None:
    folder.parent.chmod(0o744)
    with pytest.raises(RefusedError, match="may not search"):
        look(folder / "deep", stranger(folder))


def test_a_link_to_a_path_is_judged_by_where_it_leads(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder / "deep")
    (folder / "deep").chmod(0o700)
    with pytest.raises(RefusedError):
        look(folder.parent / "link", stranger(folder))


def test_what_is_not_there_is_not_found(folder: Path) -> None:
    with pytest.raises(NotFoundError):
        look(folder / "nothing", ROOT)


def test_a_second_look_finds_what_was_put_in_its_place(folder: Path) -> None:
    before = look(folder, ROOT)
    file = folder / "deep" / "file"
    file.rename(folder / "away")
    (folder / "away").rename(file)  # as before in all but the time of change
    with pytest.raises(SourceChangedError):
        demand_same(folder, ROOT, before)


@pytest.mark.skipif(os.geteuid() != 0, reason="a user may rename all that is in its own folders")
def test_a_second_look_does_not_mind_what_comes_beside_in_a_folder_of_roots(folder: Path) -> None:
    before = look(folder / "deep", ROOT)
    (folder / "log.txt").write_text("another line")
    (folder.parent.parent / "beside").touch()
    demand_same(folder / "deep", ROOT, before)
