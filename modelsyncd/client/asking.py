"""The only place where what a job wants becomes a message to its agent: for both clients the same."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from modelsyncd.client.model import Model
from modelsyncd.wire.v1 import jobs_pb2

Parent = Model | str | tuple[str, str]
"""A model that was got from an agent, "namespace/name:number" or "…@channel", or one of these words with a role."""


def ref_of(model: Model | str) -> str:
    """The channel that is meant."""
    return model.ref if isinstance(model, Model) else model


def confirm(model: Model | str, works: bool, why: str, number: int) -> jobs_pb2.ConfirmRequest:
    """For Confirm."""
    which = number or (model.number if isinstance(model, Model) else 0)
    return jobs_pb2.ConfirmRequest(ref=ref_of(model), number=which, works=works, why=why)


def publish(
    path: str | os.PathLike[str],
    model: str,
    *,
    parents: Iterable[Parent],
    labels: Mapping[str, str] | None,
    metrics: Mapping[str, float] | None,
    note: str,
    wait: bool,
) -> jobs_pb2.PublishRequest:
    """For Publish; a path is taken from this process's folder."""
    return jobs_pb2.PublishRequest(
        path=str(Path(path).absolute()),
        model=model,
        parents=[_origin(parent) for parent in parents],
        labels=labels or {},
        metrics=metrics or {},
        note=note,
        only_store=not wait,
    )


def record(
    model: Model | str, metrics: Mapping[str, float], *, dataset: str, stage: str, at: float, variant: str | None
) -> jobs_pb2.RecordRequest:
    """For Record: of a model that was got, its very release and the variant that it is."""
    ref = f"{model.name}:{model.number}" if isinstance(model, Model) else model
    about = measured(model, variant)
    return jobs_pb2.RecordRequest(ref=ref, metrics=metrics, dataset=dataset, stage=stage, at=at, variant=about)


def measured(model: object, variant: str | None) -> str | None:
    """Which variant numbers are about: "" for the release as a whole, None where that is not known here.

    Of a model that was got it is the one that it is, where its release has others.
    """
    if variant is not None or not isinstance(model, Model) or not model.forms:
        return variant
    return model.variant if model.forms > 1 else ""


def _origin(parent: Parent) -> jobs_pb2.Origin:
    match parent:
        case Model():
            return jobs_pb2.Origin(ref=f"{parent.name}:{parent.number}")
        case str():
            return jobs_pb2.Origin(ref=parent)
        case (ref, role):
            return jobs_pb2.Origin(ref=ref, role=role)


def find(query: str, sort: str, limit: int, fields: Iterable[str]) -> jobs_pb2.FindRequest:
    """For Find."""
    return jobs_pb2.FindRequest(query=query, sort=sort, limit=limit, fields=tuple(fields))
