"""What follows from a report of a worker of Sedna: at once where somebody waits, in order, once, and over restarts."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest

from edge_agent.outbox.words import Origin, Publication
from edge_agent.sedna.settings import JobSettings
from edge_agent.sedna.spool import MOST, Spool
from modelsyncd.errors import BadInputError, DiskError, DiskFullError
from modelsyncd.names import ModelRef, parse_model
from tests.fakes.sedna_node import CANDIDATE, Node

OK = (200, {"Status": 200, "Message": "OK"})


def body(worker: str = "w", owner: str = "helmet", namespace: str | None = "default", **fields: object) -> bytes:
    said = {"name": worker, "namespace": namespace, "ownerName": owner, "ownerKind": "incrementallearningjob"}
    return json.dumps({**said, **fields}).encode()


def trained(*paths: Path, **metrics: float) -> bytes:
    results = [{"format": path.suffix.lstrip("."), "url": str(path), "metrics": metrics} for path in paths]
    return body(kind="train", status="completed", results=results)


def waiting(node: Node) -> int:
    return sum(1 for path in (node.data / "sedna/.reports").iterdir() if path.name.isdigit())


async def ready(node: Node, number: int = 1) -> None:
    """A version is active, and workers were told of it."""
    node.channels.switch(node.channels.put(number))
    await node.until(lambda: (last := node.keeper.words("default/helmet").last) is not None and last.number == number)


async def test_a_worker_that_loaded_a_version_vouches_for_it(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.live():
        await ready(node)
        assert await node.controller.answer("w", body(kind="deploy", status="completed")) == OK
        await ready(node, 2)
        assert await node.controller.answer("w", body(kind="deploy", status="failed")) == OK
        await node.until(lambda: len(node.tray.recorded) == 2 and not waiting(node))
    assert node.channels.said == [("acme/helmet@stable", 1, True), ("acme/helmet@stable", 2, False)]
    assert node.tray.numbers == {(1, "deploy", "loaded"): 1.0, (2, "deploy", "loaded"): 0.0}


async def test_what_a_worker_could_not_load_gets_another_word_the_next_time(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.live():
        await ready(node)
        await node.controller.answer("w", body(kind="deploy", status="failed"))
        await node.until(lambda: not waiting(node))
        node.channels.switch(node.channels.put(1))
        await node.until(lambda: (last := node.keeper.words("default/helmet").last) and last.word.endswith("-r2"))


async def test_what_training_made_is_published_with_what_it_came_from(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "1").mkdir(parents=True)
    (out / "1/model.pb").write_bytes(b"m")
    node = Node(tmp_path / "data", JobSettings("acme/helmet", results=(str(out),)))
    async with node.live():
        await ready(node, 7)
        assert await node.controller.answer("w", trained(out / "1/model.pb", out / "1", loss=0.5)) == OK
        await node.until(lambda: len(node.tray.stored) == 2 and not waiting(node))
    labels = {"sedna-job": "default/helmet", "sedna-worker": "w"}
    parents = (Origin(ModelRef(parse_model("acme/helmet"), number=7)),)
    file, folder = node.tray.stored
    assert file == Publication(
        path=out / "1/model.pb",
        model=parse_model("acme/helmet"),
        channel="candidate",
        parents=parents,
        labels={**labels, "format": "pb"},
        metrics={"loss": 0.5},
        note="trained by default/helmet",
        user="sedna",
    )
    assert (folder.path, folder.channel, folder.parents) == (out / "1", "", parents)


async def test_nothing_outside_the_allowed_folders_is_published(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s")
    node = Node(tmp_path / "data", JobSettings("acme/helmet", results=(str(tmp_path / "out"),)))
    async with node.live():
        await ready(node)
        assert await node.controller.answer("w", trained(tmp_path / "secret")) == OK
        await node.until(lambda: not waiting(node))
    assert node.tray.stored == []


async def test_a_model_that_was_put_elsewhere_while_it_was_read_is_not_published(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "model").write_bytes(b"m")
    (tmp_path / "secret").write_bytes(b"s")
    node = Node(tmp_path / "data", JobSettings("acme/helmet", results=(str(out),)))
    node.tray.open.clear()
    async with node.live():
        await ready(node)
        await node.controller.answer("w", trained(out / "model"))
        await node.until(node.tray.asked.is_set)
        (out / "model").unlink()
        (out / "model").symlink_to(tmp_path / "secret")
        node.tray.open.set()
        await node.until(lambda: not waiting(node))
    assert node.tray.stored == []


@pytest.mark.parametrize("when", ["before", "while"])
@pytest.mark.parametrize("kind", ["file", "folder"])
async def test_what_the_next_round_wrote_over_is_not_published_as_this_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, when: str, kind: str
) -> None:
    out = tmp_path / "out"
    (out / "round").mkdir(parents=True)
    (model := out / "round/model").write_bytes(b"one")
    node = Node(tmp_path / "data", JobSettings("acme/helmet", results=(str(out),)))
    node.tray.open.clear()
    async with node.live():
        await ready(node)
        if when == "before":  # something else is under way
            (other := out / "other").write_bytes(b"other")
            await node.controller.answer("w", trained(other))
        await node.controller.answer("w", trained(model if kind == "file" else out / "round"))
        await node.until(node.tray.asked.is_set)
        model.write_bytes(b"two")
        node.tray.open.set()
        await node.until(lambda: not waiting(node))
    assert [one.path.name for one in node.tray.stored] == ([] if when == "while" else ["other"])
    (failed,) = [record for record in caplog.records if record.getMessage() == "sedna.not-done"]
    assert "written to since" in str(failed.__dict__)


async def test_a_long_publication_holds_no_word_about_a_version_up(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    node = Node(tmp_path / "data", JobSettings("acme/helmet", results=(str(out),)))
    node.tray.open.clear()
    async with node.live():
        await ready(node)
        assert await node.controller.answer("t", trained(out).replace(b'"w"', b'"t"')) == OK
        assert await node.controller.answer("w", body(kind="deploy", status="completed")) == OK
        await node.until(lambda: node.channels.said)
    assert node.tray.stored == []


async def test_a_report_that_was_answered_is_carried_out_after_a_kill(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    node = Node(tmp_path / "data", JobSettings("acme/helmet", results=(str(out),)))
    node.tray.open.clear()
    async with node.live():
        await ready(node, 3)
        assert await node.controller.answer("w", trained(out)) == OK
    node.channels.switch(node.channels.put(4))
    node.tray.open.set()
    async with node.live():
        await node.until(lambda: node.tray.stored and not waiting(node))
    assert [origin.ref.number for origin in node.tray.stored[0].parents] == [3]  # as it was when the report came


async def test_what_the_disk_refuses_is_done_later_and_what_can_not_be_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.sedna.controller.PAUSE", 0.0)
    out = tmp_path / "out"
    out.mkdir()
    node = Node(tmp_path / "data", JobSettings("acme/helmet", results=(str(out),)))
    node.tray.errors = [*[DiskFullError("full")] * 20, BadInputError("no model"), *[DiskError("unreadable")] * 10]
    async with node.live():
        await ready(node)
        for loss in (1, 2, 3):
            await node.controller.answer("w", trained(out, loss=loss))
        await node.until(lambda: not waiting(node))
    assert [dict(one.metrics) for one in node.tray.stored] == [{"loss": 3.0}]


async def test_an_evaluation_leaves_the_numbers_of_both_models_at_once_and_moves_nothing(tmp_path: Path) -> None:
    node = Node(tmp_path)
    two = node.channels.put(2)
    node.channels.switch(two, CANDIDATE)
    async with node.live():
        await ready(node)
        await node.until((node.folder / "candidate/evaluate.env").exists)
        results = [
            {"url": str(node.folder / "candidate" / f"model.{two.folder_name}"), "metrics": {"precision": [0.93]}},
            {"url": str(node.folder / "model.pth"), "metrics": {"precision": [0.9]}},
        ]
        await node.controller.answer("w", body(kind="eval", status="completed", results=results))
        await node.until(lambda: not waiting(node))
    assert node.tray.numbers == {
        (1, "eval", "precision"): 0.9,
        (2, "eval", "precision"): 0.93,
        (2, "eval", "precision_delta"): 0.03,
    }
    assert node.tray.together == [{1, 2}]
    assert len({one.at for one in node.tray.recorded}) == 1
    assert node.tray.stored == []


async def test_one_jobs_trouble_holds_up_no_other(tmp_path: Path) -> None:
    (out := tmp_path / "out").mkdir()
    other = JobSettings("acme/gloves", results=(str(out),))
    settings = JobSettings("acme/helmet", results=(str(out),))
    node = Node(tmp_path / "data", settings, others={"default/gloves": other})
    node.tray.errors = [DiskFullError("full")]
    async with node.live():
        await ready(node)
        await node.controller.answer("w", trained(out))
        await node.until(lambda: not node.tray.errors)  # and now it waits for half a minute
        await node.controller.answer("w", trained(out).replace(b'"helmet"', b'"gloves"'))
        await node.until(lambda: node.tray.stored and waiting(node) == 1)
    assert [str(one.model) for one in node.tray.stored] == ["acme/gloves"]


async def test_a_worker_is_answered_while_the_disk_is_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, refused = asyncio.get_running_loop(), asyncio.Event()

    def refuses(spool: Spool, number: int) -> None:
        del spool, number
        loop.call_soon_threadsafe(refused.set)
        raise DiskError("no")

    monkeypatch.setattr(Spool, "done", refuses)
    node = Node(tmp_path)
    async with node.live():
        await ready(node)
        assert await node.controller.answer("w", body(kind="deploy", status="completed")) == OK
        async with asyncio.timeout(60):
            await refused.wait()
        async with asyncio.timeout(20):  # less than what it waits before it tries again
            assert await node.controller.answer("w", body(kind="deploy", status="completed")) == OK


async def test_a_report_from_which_nothing_follows_any_more_is_forgotten(tmp_path: Path) -> None:
    (out := tmp_path / "out").mkdir()
    node = Node(tmp_path / "data", JobSettings("acme/helmet", results=(str(out),)))
    node.tray.open.clear()
    async with node.live():
        await ready(node)
        await node.controller.answer("w", trained(out))
    (spooled,) = [path for path in (node.data / "sedna/.reports").iterdir() if path.name.isdigit()]
    entry = json.loads(spooled.read_bytes())
    entry["body"] = base64.b64encode(body(kind="eval", status="completed")).decode()
    spooled.write_text(json.dumps(entry))
    async with node.live():
        assert not waiting(node)


async def test_results_of_one_report_about_one_release_all_count(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.live():
        await ready(node)
        results = [{"url": "/x", "metrics": {"recall": value}} for value in (0.7, 0.8, 0.9)]
        await node.controller.answer("w", body(kind="eval", status="completed", results=results))
        await node.until(lambda: not waiting(node))
    assert [one.value for one in node.tray.recorded] == [0.7, 0.8, 0.9]
    assert len({one.key for one in node.tray.recorded}) == 3


async def test_a_job_is_found_by_its_last_name_where_workers_know_no_namespace(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.live():
        await ready(node)
        facts = {"currentRound": 1}
        one = body(namespace=None, kind="train", status="running", ownerInfo=facts)
        other = body(namespace="elsewhere", ownerKind="default", kind="train", status="running", ownerInfo=facts)
        for said in (one, other):
            assert await node.controller.answer("w", said) == OK
        await node.until(lambda: len(node.tray.recorded) == 2)


async def test_a_job_of_another_namespace_is_another_job(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.live():
        await ready(node)
        assert await node.controller.answer("w", body(namespace="elsewhere", kind="deploy", status="failed")) == OK
        assert not waiting(node)
    assert node.channels.said == []


async def test_unknown_jobs_are_answered_and_noted_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    node = Node(tmp_path)
    async with node.live():
        for _ in range(3):
            assert await node.controller.answer("w", body(owner="other", kind="deploy", status="completed")) == OK
    assert [record.getMessage() for record in caplog.records].count("sedna.unknown-job") == 1
    assert node.channels.said == []


async def test_a_report_that_is_none_is_refused(tmp_path: Path) -> None:
    node = Node(tmp_path)
    async with node.live():
        for raw in (body("other"), b"", b"{}"):
            status, said = await node.controller.answer("w", raw)
            assert (status, said["Status"]) == (400, 400)


async def test_running_counts_are_recorded_now_and_then(tmp_path: Path) -> None:
    node = Node(tmp_path)
    said = body(kind="inference", status="running", ownerInfo={"inferenceNumber": 5})
    async with node.live():
        await ready(node)
        for _ in range(40):
            await node.controller.answer("w", said)
            node.time += 30
        await node.until(lambda: not waiting(node))
    assert len(node.tray.recorded) == 2


async def test_a_worker_is_asked_to_come_again_when_too_much_waits(tmp_path: Path) -> None:
    node = Node(tmp_path, JobSettings("acme/helmet"))
    node.tray.open.clear()
    async with node.live():
        await ready(node)
        node.controller._spool._kept = set(range(-MOST, 0))
        status, _ = await node.controller.answer("w", body(kind="deploy", status="completed"))
        assert status == 503
        node.controller._spool._kept = set()
        assert await node.controller.answer("w", body(kind="deploy", status="completed")) == OK


async def test_a_report_that_waits_and_can_not_be_read_is_left_out(tmp_path: Path) -> None:
    node = Node(tmp_path)
    folder = tmp_path / "sedna/.reports"
    folder.mkdir(parents=True)
    for number, raw in enumerate([b"", b"{}", b"[]", b'{"worker": "w", "body": "!", "known": {}, "at": 1}'], 1):
        (folder / f"{number:09d}").write_bytes(raw)
    async with node.live():
        await node.until(lambda: not waiting(node))
        await ready(node)
        assert await node.controller.answer("w", body(kind="deploy", status="completed")) == OK
        await asyncio.wait_for(node.until(lambda: node.channels.said), 60)


async def test_a_fault_of_our_own_ends_neither_the_agent_nor_its_next_start(
    tmp_path: Path,
) -> None:
    (out := tmp_path / "out").mkdir()
    node = Node(tmp_path, JobSettings("acme/helmet", results=(str(out),)))
    node.tray.errors = [RuntimeError("a bug")]
    async with node.live():
        await ready(node)
        for loss in (1, 2):
            await node.controller.answer("w", trained(out, loss=loss))
        await node.until(lambda: node.tray.stored and not waiting(node))
    assert [dict(one.metrics) for one in node.tray.stored] == [{"loss": 2.0}]
