"""What people are told of what waits on nodes to be published, of trials, and of what was rolled back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modelsyncd.ctl import outboxes
from modelsyncd.ctl.figures import local
from modelsyncd.ctl.fleet import Place
from modelsyncd.ctl.looking import Fleet
from modelsyncd.ctl.reasons import Case, blocks, outlook
from modelsyncd.ctl.transfers import Transfer
from modelsyncd.ctl.verbs import node as nodes
from modelsyncd.ctl.verbs import status, transfers, watch, why
from modelsyncd.names import parse_model
from modelsyncd.release import ManifestRef, Release, Variant
from modelsyncd.wire.nouns import encode_release
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import nouns_pb2, sync_pb2
from tests.fakes.releases import manifest_of

NOW = 1_795_400_000.0
MIB = 1 << 20
REFUSED = nouns_pb2.Fault(
    code="refused", message="node oslo has no right to publish acme/x", hint="modelsyncctl allow oslo acme/x"
)


def waiting(model: str = "acme/x", at: float = NOW - 60, **more: Any) -> sync_pb2.Waiting:
    return sync_pb2.Waiting(model=model, manifest=bytes(32), bytes_total=70 * MIB, stored_at=at, **more)


def oslo(*several: sync_pb2.Waiting, online: bool = True, length: int = 0, **said: Any) -> pb.NodeView:
    total = sum(one.bytes_total for one in several)
    report = sync_pb2.Report(outbox=several, outbox_length=length or len(several), outbox_bytes=total, **said)
    return pb.NodeView(name="oslo", online=online, enrolled_at=1.0, last_seen=NOW, report=report)


def test_what_waits_is_counted_and_the_first_thing_that_keeps_it_is_said_with_what_to_type() -> None:
    node = oslo(waiting(at=NOW - 600), waiting("acme/y", fault=REFUSED), waiting("acme/z"))
    assert outboxes.lines([node], NOW) == [
        f"3 releases, 210.0 MiB wait on oslo since {local(NOW - 600)}: node oslo has no right to publish acme/x",
        "  to type: modelsyncctl allow oslo acme/x",
    ]


def test_what_is_tried_again_by_itself_says_when() -> None:
    fault = nouns_pb2.Fault(message="no answer", hint="it may be back soon")
    (line,) = outboxes.lines([oslo(waiting(fault=fault, next_try=NOW + 12))], NOW)
    assert line.endswith("1 release, 70.0 MiB waits on oslo since " + local(NOW - 60) + ": no answer; next try in 12 s")


def test_what_goes_up_says_how_far_it_is_and_what_is_away_says_so() -> None:
    (line,) = outboxes.lines([oslo(waiting(bytes_done=35 * MIB))], NOW)
    assert line.endswith(": 50.0 % of acme/x is here")
    (line,) = outboxes.lines([oslo(waiting(bytes_done=35 * MIB), online=False)], NOW)
    assert line.endswith(": the node is in no session with the hub")
    several = [waiting(f"acme/{name}") for name in "abcd"]
    (line,) = outboxes.lines([oslo(*several, length=40)], NOW)
    assert line.startswith("40 releases")
    assert line.endswith(": acme/a, acme/b, acme/c, …")


def test_of_one_model_only_its_own_is_told() -> None:
    node = oslo(waiting("acme/x"), waiting("acme/y", fault=REFUSED))
    (line,) = outboxes.lines([node], NOW, "acme/x")
    assert line.startswith("1 release, 70.0 MiB")
    assert outboxes.document(node, "acme/y")["releases"] == 1
    assert outboxes.lines([node], NOW, "acme/z") == []
    assert outboxes.documents([oslo()]) == []


def test_status_transfers_node_and_why_tell_of_it() -> None:
    node = oslo(waiting(fault=REFUSED))
    fleet = Fleet(NOW, [], [node], [node])
    expected = "modelsyncctl allow oslo acme/x"
    assert expected in status.text(fleet)
    assert expected in transfers.text(fleet, everything=False)
    assert expected in nodes.node_text(node, [], NOW)
    for document in (status.describe(fleet), transfers.describe([], fleet)):
        assert document["outboxes"] == outboxes.documents([node])
    case = Case(Transfer(Place(node, "acme/x", "stable", 0, None), NOW))
    page = why.Page(case, None)
    assert expected in why.text(page)
    assert why.describe(page)["outbox"] == outboxes.document(node, "acme/x")


# --- trials, and what was rolled back ---


def standing(phase: sync_pb2.Phase.ValueType, active: int, **more: Any) -> sync_pb2.Standing:
    return sync_pb2.Standing(model="acme/x", channel="stable", phase=phase, desired=5, active=active, **more)


def place(said: sync_pb2.Standing, desired: int = 5) -> Place:
    return Place(oslo(standings=[said]), "acme/x", "stable", desired, said)


def case(said: sync_pb2.Standing, desired: int = 5) -> Case:
    return replace(Case(Transfer(place(said, desired), NOW)), release=_release())


def _release() -> pb.ReleaseView:
    ref = ManifestRef(manifest_of("a"), 100, 1_000, 1, bytes(32))
    inner = Release(parse_model("acme/x"), 5, (Variant("default", ref),))
    return pb.ReleaseView(model="acme/x", number=5, signed=nouns_pb2.SignedRelease(release=encode_release(inner)))


FAULT = nouns_pb2.Fault(
    code="gate-failed",
    message="acme/x:5 did not prove itself on this node: the command ended with 1",
    safe="acme/x:4 is active again",
)


def test_what_was_rolled_back_says_why_and_what_to_type() -> None:
    said = standing(sync_pb2.PHASE_ROLLED_BACK, 4, fault=FAULT, since=NOW - 60)
    one = case(said)
    (block,) = blocks(one)
    assert (block.kind, block.do, block.since) == (
        "rolled-back",
        "modelsyncctl retry acme/x@stable --node oslo",
        NOW - 60,
    )
    assert block.text == f"{FAULT.message}. Safe: acme/x:4 is active again"
    assert "not tried again there by itself" in outlook(one, [block])
    text = status.text(Fleet(NOW, [place(said)], []))
    assert FAULT.message in text
    assert "modelsyncctl retry acme/x@stable" in text
    assert "1 place of 1 not as desired yet" in text


def test_once_another_release_is_wanted_what_was_rolled_back_is_no_more_in_the_way() -> None:
    said = standing(sync_pb2.PHASE_ROLLED_BACK, 4)
    assert [block.kind for block in blocks(case(said, desired=6))] == ["unheard"]


def test_what_is_on_trial_is_not_as_desired_yet() -> None:
    said = standing(sync_pb2.PHASE_CONFIRMING, 5)
    one = case(said)
    assert not place(said).settled
    assert place(standing(sync_pb2.PHASE_ACTIVE, 5)).settled
    assert blocks(one) == []
    assert "has to prove itself" in outlook(one, [])
    assert "1 place of 1 not as desired yet" in status.text(Fleet(NOW, [place(said)], []))


# --- as it happens ---


def test_a_watcher_reads_who_published_what_was_rolled_back_and_who_had_it_tried_again() -> None:
    back = standing(sync_pb2.PHASE_ROLLED_BACK, 4, fault=FAULT)
    node = pb.WatchEventsResponse(at=NOW, node=oslo(waiting(), standings=[back]))
    told = watch.text(node)
    assert "acme/x@stable rolled-back, active 4 (acme/x:5 did not prove itself" in told
    assert told.endswith("; 1 release to publish")
    again = pb.VersionRetried(model="acme/x", channel="stable", nodes=["oslo", "bern"], who="admin/ann")
    event = pb.WatchEventsResponse(at=NOW, retried=again)
    assert watch.text(event).endswith("retried   acme/x@stable on oslo, bern, by admin/ann")
    assert watch.describe(event) == {
        "at": "2026-11-23T02:13:20.000Z",
        "event": "retried",
        "model": "acme/x",
        "channel": "stable",
        "nodes": ["oslo", "bern"],
        "who": "admin/ann",
    }
