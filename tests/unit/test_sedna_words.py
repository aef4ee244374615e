"""What workers of Sedna say and are told: reports, results, and which version they speak of."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest

from edge_agent.sedna import names
from edge_agent.sedna.deeds import Known, Pair, Publish, Record, Vouch, deeds
from edge_agent.sedna.jobs import Alias, Job, Place, understand, understand_all
from edge_agent.sedna.reports import BODY_BYTES, Report, Result, numbers, parse_report
from edge_agent.sedna.settings import JobSettings
from edge_agent.sedna.words import Words, Written
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, InvalidNameError
from modelsyncd.names import parse_model
from modelsyncd.store.version import Version

DATA = Path("/var/lib/agent")
SEVEN = Version(parse_model("acme/helmet"), 7, digest_of(b"seven"))


def job(**settings: object) -> Job:
    return understand("default/helmet", JobSettings(model="acme/helmet", **settings), DATA)  # type: ignore[arg-type]


def body(**fields: object) -> bytes:
    said = {"name": "w", "namespace": "default", "ownerName": "helmet", "ownerKind": "incrementallearningjob"}
    return json.dumps({**said, **fields}).encode()


def report(**fields: object) -> Report:
    return parse_report("w", body(**fields))


# --- reports ---


def test_a_report_is_read_whole() -> None:
    said = report(
        kind="train",
        status="completed",
        results=[
            {"format": "pb", "url": "/out/model.pb", "metrics": {"precision": [0.9], "loss": "0.25", "when": "now"}}
        ],
        ownerInfo={"currentRound": 3, "startTime": "2026-01-01 10:00:00"},
    )
    result = Result("pb", "/out/model.pb", {"precision": 0.9, "loss": 0.25})
    assert said == Report("w", "default/helmet", "train", "completed", (result,), {"currentRound": 3.0}, homeless=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"w"',
        body(name="other"),
        b'{"ownerName": "helmet"}',
        b"[" * 100_000,
        b'{"name": "w", "pad": "' + b"x" * BODY_BYTES + b'"}',
        b"\xff\xfe",
    ],
    ids=range(9),
)
def test_a_report_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(BadInputError):
        parse_report("w", raw)


@pytest.mark.parametrize(
    "odd", [None, 3, "text", {}, [], [None, 3, "x", []], [{"url": 3, "metrics": 7}], {"metrics": []}]
)
def test_odd_results_are_left_out(odd: object) -> None:
    said = report(kind="train", status="completed", results=odd, ownerInfo=[odd])
    assert all(not result.url and not result.metrics for result in said.results)
    assert deeds(job(), said, Known(serving=1)) == []


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (
            {"a": 1, "b": {"c": "2"}, "d": [3, 4], "e": True, "f": float("inf"), "g": None},
            {"a": 1, "b.c": 2, "d[0]": 3, "d[1]": 4, "e": 1},
        ),
        ([{"key": "precision", "value": "0.9"}], {"precision": 0.9}),
        ({str(number): number for number in range(100)}, {str(number): number for number in range(64)}),
        ({"x" * 300: 1}, {}),
    ],
)
def test_numbers_are_found_in_whatever_form_workers_write_them(said: object, found: dict[str, float]) -> None:
    assert numbers(said) == found


def test_what_is_no_text_in_a_report_becomes_text() -> None:
    result = {"format": "\ud800", "url": "/out/\udfff", "metrics": {"loss\ud800": 1}}
    said = report(kind="train", status="completed", results=[result], ownerName="helmet\ud800")
    assert said.results == (Result("?", "/out/?", {"loss?": 1.0}),)
    assert said.owner == "default/helmet?"


# --- settings ---


def test_a_job_knows_its_channels_and_folders() -> None:
    found = job(
        folders=("/srv/helmet", "/var/lib/sedna/hot=/model-hot-update"),
        paths=("/output=/srv/out",),
        results=("/srv/out",),
        file="saved/model.pb",
    )
    assert (str(found.serving), str(found.candidate)) == ("acme/helmet@stable", "acme/helmet@candidate")
    assert found.places == (
        Place(Path("/srv/helmet")),
        Place(Path("/var/lib/sedna/hot"), PurePosixPath("/model-hot-update")),
    )
    assert [place.as_seen("model.x") for place in found.places] == ["/srv/helmet/model.x", "/model-hot-update/model.x"]
    assert found.aliases == (Alias(PurePosixPath("/output"), Path("/srv/out")),)
    assert job().places == (Place(DATA / "sedna/default/helmet"),)


@pytest.mark.parametrize(
    "settings",
    [
        {"folders": ("relative",)},
        {"folders": ("/a/../b",)},
        {"folders": ("/a=b",)},
        {"results": ("out",)},
        {"paths": ("/output",)},
        {"serving": "candidate"},
        {"grace_seconds": -1.0},
        {"file": "../x"},
        {"serving": "No"},
    ],
)
def test_settings_that_can_not_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(BadInputError):
        job(**settings)


@pytest.mark.parametrize("name", ["helmet", "a/b/c", "/x", "x/", "../x", "a/..", ".a/b", "A/b", "a b/c"])
def test_a_job_is_named_as_kubernetes_names_it(name: str) -> None:
    with pytest.raises(BadInputError):
        understand(name, JobSettings("acme/helmet"), DATA)


def test_two_jobs_may_not_share_a_folder() -> None:
    settings = JobSettings("acme/helmet", folders=("/srv/one",))
    with pytest.raises(BadInputError, match="have one folder"):
        understand_all({"default/a": settings, "default/b": settings}, DATA)


def test_a_model_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidNameError):
        understand("default/helmet", JobSettings("helmet"), DATA)


# --- names ---


def test_a_word_names_one_version_and_no_path() -> None:
    word = names.word_for(SEVEN, ())
    assert word == SEVEN.folder_name
    assert "/" not in word
    assert names.number_in(word) == 7
    assert names.word_of(names.versioned(word)) == word
    assert names.is_word_of(word, SEVEN)
    assert not names.is_word_of(word, Version(SEVEN.model, 8, SEVEN.manifest))


def test_each_failure_to_load_makes_another_word_for_the_same_version() -> None:
    failed: list[str] = []
    for expected in ("", "-r2", "-r3", "-r4"):
        word = names.word_for(SEVEN, failed)
        assert word == SEVEN.folder_name + expected
        assert names.is_word_of(word, SEVEN)
        failed.append(word)


@pytest.mark.parametrize(
    "name", ["model.pb", "model.", "model", "model.7", "model.7-xyz", "x.7-0123456789ab", "model.7-0123456789ab-r"]
)
def test_other_names_have_no_word(name: str) -> None:
    assert names.word_of(name) == ""


def test_a_config_is_read_back_and_others_are_not() -> None:
    word = SEVEN.folder_name
    raw = names.config("/model-hot-update/model.x", word)
    assert json.loads(raw) == {"model_config": {"model_path": "/model-hot-update/model.x", "model_update_time": word}}
    assert names.word_in(raw) == word
    for other in (b"", b"{", b"[]", b"7", b'{"model_config": 3}', b'{"model_config": {"model_update_time": "../x"}}'):
        assert names.word_in(other) == ""


# --- which version a worker speaks of ---

A, B, C = (Written(f"{number}-aaaaaaaaaaaa", number) for number in (1, 2, 3))


def test_a_worker_speaks_of_the_newest_version_that_it_was_told_of() -> None:
    words = Words()
    assert words.loaded("w") is None
    words.write(A)
    assert words.loaded("w") == A
    words.write(B)
    assert (words.loaded("w"), words.loaded("new")) == (B, B)


def test_an_answer_that_got_lost_does_not_make_two_versions_of_one() -> None:
    words = Words()
    words.write(A)
    assert [words.loaded("w") for _ in range(3)] == [A, A, A]


def test_a_worker_that_comes_late_does_not_speak_of_what_it_had_before() -> None:
    """B failed at another worker, and A came back before this one was done with B: A it has, so it means B."""
    words = Words()
    words.write(A)
    assert (words.loaded("quick"), words.loaded("slow")) == (A, A)
    words.write(B)
    assert words.loaded("quick") == B
    words.write(A)
    assert words.loaded("slow") == B
    assert (words.loaded("quick"), words.loaded("slow")) == (A, A)


def test_what_was_written_long_ago_is_forgotten_and_workers_go_on() -> None:
    words = Words()
    words.write(A)
    words.loaded("w")
    for number in range(2, 100):
        words.write(Written(f"{number}-bbbbbbbbbbbb", number))
    last = words.last
    assert last is not None
    assert last.number == 99
    assert words.loaded("w") == last
    for number in range(1_000):
        words.loaded(f"w{number}")
    assert len(words._reached) <= 256


# --- what follows from a report ---


def test_a_worker_vouches_for_what_it_loaded() -> None:
    known = Known(serving=2, loaded=2, word=B.word)
    good = deeds(job(), report(kind="deploy", status="completed"), known)
    assert good == [Vouch(2, B.word, True, ""), Record(2, "deploy", {"loaded": 1.0})]
    bad = deeds(job(), report(kind="deploy", status="failed"), known)
    assert bad == [
        Vouch(2, B.word, False, "w of default/helmet could not load it"),
        Record(2, "deploy", {"loaded": 0.0}),
    ]
    assert deeds(job(), report(kind="deploy", status="running"), known) == []
    assert deeds(job(), report(kind="deploy", status="completed"), Known()) == []


def test_everything_that_training_reports_is_published_and_one_of_it_is_evaluated() -> None:
    said = report(
        kind="train",
        status="completed",
        results=[
            {"format": "pb", "url": "/out/1/model.pb", "metrics": {"loss": 1}},
            {"format": "ckpt", "url": "/out/1", "metrics": {"loss": 1}},
        ],
        ownerInfo={"currentRound": 4, "sampleCount": 1234567},
    )
    labels = {"sedna-job": "default/helmet", "sedna-worker": "w", "round": "4", "samples": "1234567"}
    assert deeds(job(), said, Known(serving=3)) == [
        Publish("/out/1/model.pb", True, 3, {"loss": 1.0}, {**labels, "format": "pb"}),
        Publish("/out/1", False, 3, {"loss": 1.0}, {**labels, "format": "ckpt"}),
    ]
    assert [deed.first for deed in deeds(job(format="ckpt"), said, Known()) if isinstance(deed, Publish)] == [
        False,
        True,
    ]


def test_a_round_that_is_under_way_leaves_its_numbers() -> None:
    said = report(kind="train", status="running", ownerInfo={"currentRound": 2, "sampleCount": 10}, ownerKind="default")
    assert deeds(job(), said, Known(serving=3)) == [Record(3, "train", {"currentRound": 2.0, "sampleCount": 10.0})]
    assert deeds(job(), said, Known()) == []


EVALUATED = [{"url": "/m/candidate/model.pb", "metrics": {"p": 0.9}}, {"url": "/m/model.pb", "metrics": {"p": 0.8}}]


def test_an_evaluation_of_two_leaves_the_numbers_of_both_and_what_the_new_one_has_more() -> None:
    said = report(kind="eval", status="completed", results=EVALUATED)
    old, new = Record(3, "eval", {"p": 0.8}), Record(4, "eval", {"p": 0.9, "p_delta": 0.1})
    assert deeds(job(), said, Known(serving=3, candidate=4)) == [Pair(old, new)]
    assert deeds(job(), said, Known(serving=3)) == [old]
    assert deeds(job(), said, Known(candidate=4)) == [new]


def test_a_file_that_never_changes_says_which_release_was_evaluated() -> None:
    urls = ("/models/acme/helmet/versions/5-0123456789ab/deep/model.pth", "/m/model.2-0123456789ab-r2")
    results = [{**one, "url": url} for one, url in zip(EVALUATED, urls, strict=True)]
    said = report(kind="eval", status="completed", results=results)
    (found,) = deeds(job(), said, Known(serving=3, candidate=4))
    assert isinstance(found, Pair)
    assert (found.old.number, found.new.number) == (2, 5)


@pytest.mark.parametrize("count", [1, 3])
def test_an_evaluation_of_another_number_of_models_only_leaves_numbers(count: int) -> None:
    said = report(kind="eval", status="completed", results=[EVALUATED[0]] * count)
    found = deeds(job(), said, Known(serving=3, candidate=4))
    assert found == [Record(3, "eval", {"p": 0.9})] * count


def test_counts_of_inference_are_recorded_about_what_serves() -> None:
    said = report(kind="inference", status="running", ownerInfo={"inferenceNumber": 5, "uploadCloudRatio": 0.5})
    assert deeds(job(), said, Known(serving=3)) == [
        Record(3, "inference", {"inferenceNumber": 5.0, "uploadCloudRatio": 0.5})
    ]
