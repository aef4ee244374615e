"""The only place that reads what a worker of Sedna posts: its words become a Report, or a reason why not.

Workers are of many versions, so what is odd in a field that nothing depends on is left out, not refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite

from modelsyncd.errors import BadInputError

TRAIN, EVAL, DEPLOY, INFERENCE = "train", "eval", "deploy", "inference"
COMPLETED, FAILED = "completed", "failed"
DEFAULT = "default"
BODY_BYTES = 1 << 20  # of one report; an evaluation of a thousand classes has a tenth of that
_RESULTS = 32
_NUMBERS = 64  # of one result, as many as a release may have
_NAME = 200  # characters of a metric's name


@dataclass(frozen=True, slots=True)
class Result:
    """A model that a worker speaks of; `url` is as the worker wrote it."""

    format: str
    url: str
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """One post. `owner` is "namespace/name" of the job; `facts` are the numbers of `ownerInfo`.

    `homeless` when the worker may know no namespace: it names none or "default", or calls the kind of its job so.
    """

    worker: str
    owner: str
    kind: str
    status: str
    results: tuple[Result, ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)
    homeless: bool = False


def parse_report(worker: str, body: bytes) -> Report:
    """What the body says; `worker` is the name in the path. Raises BadInputError."""
    if len(body) > BODY_BYTES:
        raise BadInputError(f"a report may have {BODY_BYTES} bytes, not {len(body)}")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInputError("the report is not JSON") from error
    if not isinstance(said, dict):
        raise BadInputError("the report is not an object")
    if said.get("name") != worker:
        raise BadInputError(f"the path says {worker[:80]!r} and the report {str(said.get('name'))[:80]!r}")
    namespace = _text(said.get("namespace")) or DEFAULT
    return Report(
        worker=worker,
        owner=f"{namespace}/{_text(said.get('ownerName'))}",
        kind=_text(said.get("kind")).lower(),
        status=_text(said.get("status")).lower(),
        results=tuple(_results(said.get("results"))),
        facts=numbers(said.get("ownerInfo")),
        homeless=DEFAULT in (namespace, _text(said.get("ownerKind"))),
    )


def numbers(said: object) -> dict[str, float]:
    """All that can be read as a number, by name: `loss`, `precision[2]`, `box.recall`. A list of one is its element."""
    found: dict[str, float] = {}
    named = _named(said)
    for name, value in _walk("", named) if isinstance(named, dict) else ():
        if len(found) == _NUMBERS:
            break
        if name and len(name) <= _NAME:
            found[_text(name)] = value
    return found


def _results(said: object) -> Iterator[Result]:
    each = said if isinstance(said, list) else [said]
    for one in each[:_RESULTS]:
        if isinstance(one, dict):
            yield Result(_text(one.get("format")), _text(one.get("url")), numbers(one.get("metrics")))


def _named(said: object) -> object:
    """[{"key": …, "value": …}, …], as Sedna's own resources write metrics, becomes an object."""
    if isinstance(said, list) and all(isinstance(one, dict) and {"key", "value"} <= one.keys() for one in said):
        return {str(one["key"]): one["value"] for one in said}
    return said


def _walk(name: str, said: object, depth: int = 0) -> Iterator[tuple[str, float]]:
    if isinstance(said, dict) and depth < 2:
        for key, value in said.items():
            yield from _walk(f"{name}.{key}" if name else str(key), value, depth + 1)
    elif isinstance(said, list) and depth < 3:
        for index, value in enumerate(said[:_NUMBERS]):
            yield from _walk(name if len(said) == 1 else f"{name}[{index}]", value, depth + 1)
    elif (number := _number(said)) is not None:
        yield name, number


def _number(said: object) -> float | None:
    if not isinstance(said, int | float | str):
        return None
    try:
        number = float(said)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _text(said: object) -> str:
    return said.encode(errors="replace").decode() if isinstance(said, str) else ""  # JSON can write what is no text
