"""Nodes, invites and assignments, on every database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloud_hub.catalog import AssignmentRow, Catalog
from modelsyncd.errors import BadInputError, ConflictError, InviteError, NotFoundError
from modelsyncd.names import parse_model, parse_ref
from tests.contract.databases import URLS, opened
from tests.fakes.releases import HELMET, made, manifest_of

OTHER = parse_model("acme/other")


@pytest.fixture(params=URLS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    with opened(request.param, tmp_path) as found:
        yield found


def enrol(catalog: Catalog, name: str, **labels: str) -> None:
    invite = catalog.nodes.invite(name, labels, expires_at=100.0, now=1.0)
    catalog.nodes.redeem(invite, name, f"key of {name}".encode(), now=2.0)


def publish(catalog: Catalog, number: int, content: str, channel: str | None, model: str = "acme/helmet") -> None:
    what = made(number, content, model=parse_model(model))
    catalog.models.commit(what.signed, what.release, what.digest, channel=channel, who="admin/ann", now=1.0)


# --- invites ---


def test_an_invited_node_is_listed_and_has_no_key_until_it_enrols(catalog: Catalog) -> None:
    invite = catalog.nodes.invite("n1", {"site": "a"}, expires_at=100.0, now=1.0)
    node = catalog.nodes.get("n1")
    assert (dict(node.labels), node.enrolled_at, catalog.nodes.known_key("n1")) == ({"site": "a"}, 0.0, None)
    catalog.nodes.redeem(invite, "n1", b"key", now=2.0)
    assert catalog.nodes.get("n1").enrolled_at == 2.0
    assert catalog.nodes.known_key("n1") == b"key"


def test_the_same_key_may_enrol_again_even_after_the_invite_expired(catalog: Catalog) -> None:
    invite = catalog.nodes.invite("n1", {}, expires_at=100.0, now=1.0)
    catalog.nodes.redeem(invite, "n1", b"key", now=2.0)
    catalog.nodes.redeem(invite, "n1", b"key", now=200.0)
    assert catalog.nodes.get("n1").enrolled_at == 2.0


def test_another_key_may_not_use_an_invite_again(catalog: Catalog) -> None:
    invite = catalog.nodes.invite("n1", {}, expires_at=100.0, now=1.0)
    catalog.nodes.redeem(invite, "n1", b"key", now=2.0)
    with pytest.raises(InviteError, match="used already"):
        catalog.nodes.redeem(invite, "n1", b"other", now=3.0)
    assert catalog.nodes.known_key("n1") == b"key"


@pytest.mark.parametrize(("name", "now", "word"), [("n2", 2.0, "is for n1, not for n2"), ("n1", 100.0, "has expired")])
def test_an_invite_is_for_one_name_and_for_a_time(catalog: Catalog, name: str, now: float, word: str) -> None:
    invite = catalog.nodes.invite("n1", {}, expires_at=100.0, now=1.0)
    with pytest.raises(InviteError, match=word) as caught:
        catalog.nodes.redeem(invite, name, b"key", now=now)
    assert "modelsyncctl node invite" in caught.value.hint
    assert catalog.nodes.known_key("n1") is None


def test_an_invite_that_nobody_made_is_refused(catalog: Catalog) -> None:
    with pytest.raises(InviteError, match="does not know"):
        catalog.nodes.redeem("0" * 32, "n1", b"key", now=1.0)


def test_a_newer_invite_ends_the_older_one(catalog: Catalog) -> None:
    old = catalog.nodes.invite("n1", {"a": "1"}, expires_at=100.0, now=1.0)
    new = catalog.nodes.invite("n1", {"a": "2"}, expires_at=100.0, now=1.0)
    with pytest.raises(InviteError, match="a newer invite"):
        catalog.nodes.redeem(old, "n1", b"key", now=2.0)
    catalog.nodes.redeem(new, "n1", b"key", now=2.0)
    assert catalog.nodes.get("n1").labels == {"a": "2"}


def test_an_enrolled_name_can_not_be_invited_until_it_is_removed(catalog: Catalog) -> None:
    enrol(catalog, "n1")
    with pytest.raises(ConflictError) as caught:
        catalog.nodes.invite("n1", {}, expires_at=100.0, now=3.0)
    assert "modelsyncctl node remove n1" in caught.value.hint
    catalog.nodes.remove("n1")
    again = catalog.nodes.invite("n1", {}, expires_at=100.0, now=4.0)
    catalog.nodes.redeem(again, "n1", b"new key", now=5.0)
    assert catalog.nodes.known_key("n1") == b"new key"


def test_a_removed_node_does_not_come_back_with_its_old_invite(catalog: Catalog) -> None:
    used = catalog.nodes.invite("n1", {}, expires_at=100.0, now=1.0)
    catalog.nodes.redeem(used, "n1", b"key", now=2.0)
    catalog.nodes.remove("n1")
    catalog.nodes.invite("n1", {}, expires_at=100.0, now=3.0)
    with pytest.raises(InviteError, match="removed"):
        catalog.nodes.redeem(used, "n1", b"key", now=4.0)
    assert catalog.nodes.known_key("n1") is None


def test_removing_an_invited_node_ends_its_invite(catalog: Catalog) -> None:
    invite = catalog.nodes.invite("n1", {}, expires_at=100.0, now=1.0)
    catalog.nodes.remove("n1")
    with pytest.raises(InviteError, match="removed"):
        catalog.nodes.redeem(invite, "n1", b"key", now=2.0)


# --- nodes ---


def test_what_a_node_says_is_kept_and_changes_nothing_that_it_should_hold(catalog: Catalog) -> None:
    enrol(catalog, "n1")
    revision = catalog.revision()
    catalog.nodes.seen("n1", "modelsyncd 1", {}, now=5.0)
    catalog.nodes.report("n1", b"report", now=6.0)
    node = catalog.nodes.get("n1")
    assert (node.software, node.report, node.reported_at, node.last_seen) == ("modelsyncd 1", b"report", 6.0, 6.0)
    assert catalog.revision() == revision


def test_what_a_node_says_of_itself_is_a_change_only_when_it_is_another_word(catalog: Catalog) -> None:
    enrol(catalog, "n1")
    revision = catalog.revision()
    said = {"arch": ("aarch64", "arm64"), "runtimes": ()}
    assert catalog.nodes.seen("n1", "modelsyncd 1", said, now=5.0)
    assert catalog.revision() == revision + 1
    assert not catalog.nodes.seen("n1", "modelsyncd 1", said, now=6.0)
    assert not catalog.nodes.learn("n1", dict(reversed(said.items())))
    assert catalog.nodes.get("n1").facts == said
    assert catalog.nodes.learn("n1", {"arch": ("x86_64",)})
    assert catalog.revision() == revision + 2
    assert not catalog.nodes.learn("nobody", said)


def test_a_word_from_a_removed_node_is_dropped(catalog: Catalog) -> None:
    enrol(catalog, "n1")
    assert catalog.nodes.remove("n1").name == "n1"
    catalog.nodes.seen("n1", "modelsyncd 1", {}, now=5.0)
    catalog.nodes.report("n1", b"report", now=6.0)
    assert catalog.nodes.list() == []
    assert catalog.nodes.known_key("n1") is None


def test_nodes_are_listed_by_name_and_by_labels(catalog: Catalog) -> None:
    enrol(catalog, "n2", site="a", gpu="x")
    enrol(catalog, "n1", site="a")
    enrol(catalog, "n3", site="b")
    assert [node.name for node in catalog.nodes.list()] == ["n1", "n2", "n3"]
    assert [node.name for node in catalog.nodes.list({"site": "a"})] == ["n1", "n2"]
    assert [node.name for node in catalog.nodes.list({"site": "a", "gpu": "x"})] == ["n2"]


@pytest.mark.parametrize("verb", ["get", "label", "remove"])
def test_a_node_that_is_not_there_is_answered_with_what_comes_nearest(catalog: Catalog, verb: str) -> None:
    enrol(catalog, "camera-1")
    for name, hint in [("camera1", "did you mean camera-1?"), ("zzz", "to let it in: modelsyncctl node invite zzz")]:
        with pytest.raises(NotFoundError) as caught:
            getattr(catalog.nodes, verb)(*([name, {}] if verb == "label" else [name]))
        assert caught.value.hint == hint


# --- assignments ---


def test_an_assignment_by_name_or_by_labels_reaches_its_nodes_and_no_others(catalog: Catalog) -> None:
    enrol(catalog, "n1", site="a")
    enrol(catalog, "n2", site="a", gpu="x")
    enrol(catalog, "n3", site="b")
    by_name, created = catalog.assignments.assign(HELMET, "stable", "n3", {}, 5)
    by_label, _ = catalog.assignments.assign(HELMET, "canary", None, {"site": "a"}, 1)
    by_two, _ = catalog.assignments.assign(OTHER, "stable", None, {"site": "a", "gpu": "x"})
    assert created
    assert catalog.assignments.nodes_of(by_name) == ["n3"]
    assert catalog.assignments.nodes_of(by_label) == ["n1", "n2"]
    assert catalog.assignments.nodes_of(by_two) == ["n2"]
    assert catalog.assignments.list("n1") == [by_label]
    assert catalog.assignments.list("n2") == [by_label, by_two]
    assert catalog.assignments.list() == [by_label, by_name, by_two]


def test_the_same_assignment_again_is_not_new_and_another_priority_replaces_it(catalog: Catalog) -> None:
    enrol(catalog, "n1")
    assert catalog.assignments.assign(HELMET, "stable", "n1", {}, 5)[1]
    revision = catalog.revision()
    assert not catalog.assignments.assign(HELMET, "stable", "n1", {}, 5)[1]
    assert catalog.revision() == revision
    assert catalog.assignments.assign(HELMET, "stable", "n1", {}, 6)[1]
    assert catalog.assignments.list() == [AssignmentRow(HELMET, "stable", "n1", {}, 6)]


def test_a_selector_is_the_same_whatever_the_order_of_its_labels(catalog: Catalog) -> None:
    catalog.assignments.assign(HELMET, "stable", None, {"b": "ö", "a": "1"})
    assert not catalog.assignments.assign(HELMET, "stable", None, {"a": "1", "b": "ö"})[1]
    assert catalog.assignments.unassign(HELMET, "stable", None, {"a": "1", "b": "ö"}).selector == {"a": "1", "b": "ö"}
    assert catalog.assignments.list() == []


@pytest.mark.parametrize(("node", "selector"), [(None, {}), ("n1", {"site": "a"})])
def test_an_assignment_names_a_node_or_labels_and_not_neither_or_both(
    catalog: Catalog, node: str | None, selector: dict[str, str]
) -> None:
    enrol(catalog, "n1", site="a")
    for call in (catalog.assignments.assign, catalog.assignments.unassign):
        with pytest.raises(BadInputError) as caught:
            call(HELMET, "stable", node, selector)
        assert "--selector" in caught.value.hint


def test_assigning_to_a_node_that_is_not_there_is_refused(catalog: Catalog) -> None:
    enrol(catalog, "camera-1")
    with pytest.raises(NotFoundError, match="camera-2") as caught:
        catalog.assignments.assign(HELMET, "stable", "camera-2", {})
    assert "camera-1" in caught.value.hint
    assert catalog.assignments.list() == []


def test_ending_an_assignment_that_is_not_there_says_what_is(catalog: Catalog) -> None:
    enrol(catalog, "n1")
    with pytest.raises(NotFoundError, match="not assigned to n1") as caught:
        catalog.assignments.unassign(HELMET, "stable", "n1", {})
    assert "nothing follows acme/helmet" in caught.value.hint
    catalog.assignments.assign(HELMET, "canary", None, {"a": "1"})
    with pytest.raises(NotFoundError) as caught:
        catalog.assignments.unassign(HELMET, "stable", "n1", {})
    assert "acme/helmet@canary to a=1" in caught.value.hint


def test_a_node_follows_each_channel_once_with_the_highest_priority(catalog: Catalog) -> None:
    enrol(catalog, "n1", site="a", gpu="x")
    publish(catalog, 1, "a", "stable")
    for selector, priority in [({"site": "a"}, -3), ({"gpu": "x"}, 4)]:
        catalog.assignments.assign(HELMET, "stable", None, selector, priority)
    catalog.assignments.assign(HELMET, "stable", "n1", {}, 2)
    catalog.assignments.assign(OTHER, "stable", "n1", {}, -1)
    followed = catalog.assignments.for_node("n1")
    assert [(each.model, each.channel, each.priority) for each in followed] == [
        (HELMET, "stable", 4),
        (OTHER, "stable", -1),
    ]
    assert followed[0].release == catalog.models.release(parse_ref("acme/helmet:1"))
    assert followed[1].release is None


def test_a_model_may_be_assigned_before_it_is_published(catalog: Catalog) -> None:
    enrol(catalog, "n1")
    catalog.assignments.assign(HELMET, "stable", "n1", {})
    before = catalog.assignments.desired("n1")
    publish(catalog, 1, "a", "stable")
    after = catalog.assignments.desired("n1")
    assert [each.release for each in before.followed] == [None]
    assert [each.release is None for each in after.followed] == [False]
    assert after.revision > before.revision


def test_a_node_may_read_what_its_channels_name_right_now_and_nothing_else(catalog: Catalog) -> None:
    enrol(catalog, "n1", site="a")
    publish(catalog, 1, "one", "stable")
    publish(catalog, 2, "two", "canary")
    publish(catalog, 1, "other", "stable", model="acme/other")
    assert catalog.assignments.readable("n1") == frozenset()
    catalog.assignments.assign(HELMET, "stable", None, {"site": "a"})
    assert catalog.assignments.readable("n1") == {manifest_of("one")}
    catalog.models.promote(parse_ref("acme/helmet:2"), "stable", who="admin/ann", note="", now=3.0)
    assert catalog.assignments.readable("n1") == {manifest_of("two")}
    catalog.nodes.label("n1", {"site": "b"})
    assert catalog.assignments.readable("n1") == frozenset()
    catalog.assignments.assign(OTHER, "stable", "n1", {})
    assert catalog.assignments.readable("n1") == {manifest_of("other")}
    catalog.nodes.remove("n1")
    assert catalog.assignments.readable("n1") == frozenset()


def test_a_name_that_is_invited_again_does_not_inherit_assignments(catalog: Catalog) -> None:
    enrol(catalog, "n1", site="a")
    catalog.assignments.assign(HELMET, "stable", "n1", {})
    catalog.nodes.remove("n1")
    enrol(catalog, "n1")
    assert catalog.assignments.list() == []
    assert list(catalog.assignments.for_node("n1")) == []


def test_every_change_of_what_a_node_should_hold_raises_the_revision(catalog: Catalog) -> None:
    publish(catalog, 1, "one", None)
    steps: list[Callable[[], object]] = [
        lambda: enrol(catalog, "n1", site="a"),
        lambda: catalog.assignments.assign(HELMET, "stable", "n1", {}),
        lambda: catalog.models.promote(parse_ref("acme/helmet:1"), "stable", who="admin/ann", note="", now=1.0),
        lambda: publish(catalog, 2, "two", "stable"),
        lambda: catalog.models.rollback(HELMET, "stable", who="admin/ann", note="", now=2.0),
        lambda: catalog.assignments.assign(HELMET, "stable", "n1", {}, 7),
        lambda: catalog.nodes.label("n1", {"site": "b"}),
        lambda: catalog.assignments.unassign(HELMET, "stable", "n1", {}),
        lambda: catalog.nodes.remove("n1"),
    ]
    for step in steps:
        before = catalog.revision()
        step()
        assert catalog.revision() > before
    revision = catalog.revision()
    publish(catalog, 3, "three", None)
    assert catalog.revision() == revision
