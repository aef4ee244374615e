"""The only place that decides what follows from a report: numbers, a word about a version, publications.

Pure: what the node knew when the report came is handed in, so that it comes out the same when it is done after a
restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from edge_agent.sedna import names
from edge_agent.sedna.deltas import metrics_of
from edge_agent.sedna.jobs import Job
from edge_agent.sedna.reports import COMPLETED, DEPLOY, EVAL, FAILED, INFERENCE, TRAIN, Report, Result

_LABEL = 256  # characters


@dataclass(frozen=True, slots=True)
class Known:
    """Numbers of releases at one moment, 0 for none: in the channels, and what a loading worker speaks of."""

    serving: int = 0
    candidate: int = 0
    loaded: int = 0
    word: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """Numbers about a release of the job's model."""

    number: int
    stage: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """Numbers of two releases from one evaluation. They go together, so that nobody compares half of it."""

    old: Record
    new: Record


@dataclass(frozen=True, slots=True)
class Vouch:
    """A worker's word about the version that it loaded."""

    number: int
    word: str
    works: bool
    why: str


@dataclass(frozen=True, slots=True)
class Publish:
    """A trained model, trained from release `parent` (0 for none); `first` ones move the candidate channel."""

    url: str
    first: bool
    parent: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


Deed = Record | Pair | Vouch | Publish


def deeds(job: Job, report: Report, known: Known) -> list[Deed]:
    """In the order in which they are to be done."""
    match report.kind, report.status:
        case "deploy", status if status in (COMPLETED, FAILED):
            return list(_deployed(job, report, known))
        case "train", status if status == COMPLETED:
            return list(_trained(job, report, known))
        case "eval", status if status == COMPLETED:
            return list(_evaluated(report, known))
        case _:
            return list(_told(report, known.serving, report.facts))


def _deployed(job: Job, report: Report, known: Known) -> Iterator[Deed]:
    if not known.loaded:
        return
    works = report.status == COMPLETED
    why = "" if works else f"{report.worker} of {job.name} could not load it"
    yield Vouch(known.loaded, known.word, works, why)
    yield Record(known.loaded, DEPLOY, {"loaded": float(works)})


def _trained(job: Job, report: Report, known: Known) -> Iterator[Deed]:
    labels = {"sedna-job": job.name[:_LABEL], "sedna-worker": report.worker[:_LABEL]}
    if "currentRound" in report.facts:
        labels["round"] = f"{report.facts['currentRound']:.17g}"
    if "sampleCount" in report.facts:
        labels["samples"] = f"{report.facts['sampleCount']:.17g}"
    first = _first(job, report.results)
    if not any(one.url for one in report.results):
        yield from _told(report, known.serving, report.facts)
    for result in report.results:
        if result.url:
            marks = {**labels, **({"format": result.format[:_LABEL]} if result.format else {})}
            yield Publish(result.url, result is first, known.serving, result.metrics, marks)


def _first(job: Job, results: tuple[Result, ...]) -> Result | None:
    """The one that is evaluated and served."""
    fitting = [one for one in results if one.url and (not job.format or one.format == job.format)]
    return fitting[0] if fitting else None


def _evaluated(report: Report, known: Known) -> Iterator[Deed]:
    """With two models, the first one is the new one. Whether it is better is for a rule at the hub to say."""
    if len(report.results) != 2:
        for result in report.results:
            yield from _told(report, _number(result, known, known.serving), result.metrics)
        return
    fresh, stale = report.results
    new, old = _number(fresh, known, known.candidate), _number(stale, known, known.serving)
    told = [*_told(report, old, stale.metrics), *_told(report, new, metrics_of(fresh.metrics, stale.metrics))]
    yield from [Pair(*told)] if len(told) == 2 else told


def _number(result: Result, known: Known, otherwise: int) -> int:
    """Which release was evaluated: its path says so if it is one that never changes, else what leads there."""
    word = names.word_on_the_way(result.url)
    return names.number_in(word) if word else otherwise


def _told(report: Report, number: int, metrics: Mapping[str, float]) -> Iterator[Record]:
    if number and metrics:
        yield Record(number, report.kind if report.kind in _STAGES else "", metrics)


_STAGES = {TRAIN, EVAL, DEPLOY, INFERENCE}
